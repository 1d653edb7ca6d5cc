"""The host tools: build, sign, provision, simulate, and run a fleet of MicroPython devices."""

__version__ = "0.1.0"
