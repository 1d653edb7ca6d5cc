"""Which mode a board has the memory for.

Powered mode keeps everything in memory at once: sensors, outbox, MQTT, the updater's watch.
Battery mode holds one of them at a time. What does not fit shows on the device only, as a
MemoryError that comes and goes: so the build refuses it.
"""

from outpost.boards import Board
from outpost.build.product import FILE, Product
from outpost.errors import ExitCode, OutpostError

POWERED_BYTES = 128_000
"""Heap in which powered mode starts, connects and publishes with one sensor, TLS apart
(docs/reference/memory.md)."""


def heap_for_python(board: Board) -> int:
    """Bytes of the GC heap that TLS leaves."""
    quirks = board.chip.quirks
    return board.heap_bytes - (quirks.tls_heap_bytes if quirks.tls_in_gc_heap else 0)


def holds_powered(board: Board) -> bool:
    """Whether powered mode fits into the memory that every such board has."""
    return heap_for_python(board) >= POWERED_BYTES


def is_any_on_battery(product: Product) -> bool:
    """Whether one of its boards sleeps between its readings."""
    return any(product.mode(board) == "battery" for board in product.boards)


def check_modes(product: Product, boards: list[Board]) -> None:
    """Refuse a mode that a board cannot run.

    Who writes the mode for a board by name knows more than boards/ does (a module with PSRAM): the
    size of its memory is not asked then.
    """
    for board in boards:
        if product.mode(board.name) == "battery":
            if board.ethernet.kind:
                what = f"{board.name} is wired, and battery mode knows Wi-Fi only"
                raise _wrong(product, what, _fix(board, "powered"))
        elif not holds_powered(board) and "mode" not in product.own.get(board.name, {}):
            what = (
                f"{board.name} has {heap_for_python(board):,} bytes for Python beside TLS, and "
                f"powered mode starts in {POWERED_BYTES:,}"
            )
            more = '; where the module has PSRAM, mode = "powered"'
            raise _wrong(product, what, _fix(board, "battery") + more)


def _fix(board: Board, mode: str) -> str:
    return f'write [boards.{board.name}] mode = "{mode}"'


def _wrong(product: Product, what: str, fix: str) -> OutpostError:
    return OutpostError("product-invalid", f"{product.folder / FILE}: {what}", fix, ExitCode.USAGE)
