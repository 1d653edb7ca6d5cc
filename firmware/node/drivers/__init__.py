"""One sensor chip per file. A driver is given a bus and never looks for one."""
