# Before anything is imported: no file on the flash may stand in for a builtin module.
import sys

sys.path[:] = [".frozen", "/outpost"]
