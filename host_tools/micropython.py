"""What firmware imports from MicroPython's `micropython` module, for CPython.

`const` folds at compile time there and is the identity here.  The heap locks have no counterpart
on CPython: they do nothing, so a hot path's heap-lock test passes here and means something only on
the VM.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


def const(value: T) -> T:
    """A constant, folded into the bytecode by MicroPython's compiler."""
    return value


def heap_lock() -> None:
    """On the VM: allocation raises MemoryError until `heap_unlock`."""


def heap_unlock() -> int:
    """On the VM: the remaining depth of the lock."""
    return 0


def heap_locked() -> int:
    """On the VM: the depth of the lock."""
    return 0


def native(function: T) -> T:
    """On the VM: compiled to machine code."""
    return function


viper = native


def alloc_emergency_exception_buf(_size: int) -> None:
    """On the VM: room to build an exception while the heap is locked."""


def schedule(function: Callable[[Any], Any], argument: Any) -> None:
    """On the VM: run soon; here: now."""
    function(argument)


def opt_level(_level: int | None = None) -> int | None:
    """On the VM: the compiler's optimisation level."""
    return 0 if _level is None else None
