"""Simulated boards: the real MicroPython VM, a chip's modules around it, and its power supply."""

from outpost.sim.board import Event, SimBoard
from outpost.sim.scenario import Scenario, load_scenario
from outpost.sim.wiring import AccessPoint, Wiring

__all__ = ["AccessPoint", "Event", "Scenario", "SimBoard", "Wiring", "load_scenario"]
