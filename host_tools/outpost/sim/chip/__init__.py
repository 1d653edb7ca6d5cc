"""The modules that stand in for the chip's; they run on the MicroPython VM."""
