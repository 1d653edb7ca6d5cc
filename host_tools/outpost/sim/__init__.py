"""Simulated boards: the real MicroPython VM, a chip's modules around it, and its power supply."""

from outpost.sim.board import AccessPoint, Event, SimBoard, Wiring

__all__ = ["AccessPoint", "Event", "SimBoard", "Wiring"]
