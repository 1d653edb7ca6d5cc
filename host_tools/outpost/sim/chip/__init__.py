"""The modules that stand in for the chip's, run by the MicroPython VM (and, where pure, by CPython)."""
