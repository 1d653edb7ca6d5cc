"""A simulated board for tests: `boards("esp32_generic", source)`; all are stopped at the end."""

import pytest
from outpost.boards import load_board
from outpost.build.image import format_image
from outpost.sim import SimBoard


@pytest.fixture
def boards(tmp_path):
    """A function that makes a board whose /main.py is `main`, and starts it."""
    made = []

    def make(name, main, *, start=True, files=None, **options):
        board = load_board(name)
        flash = tmp_path / f"{len(made)}.img"
        contents = {"/main.py": main.encode(), **(files or {})}
        flash.write_bytes(format_image(board, contents))
        simulated = SimBoard(board, flash, **options)
        made.append(simulated)
        return simulated.start() if start else simulated

    yield make
    for simulated in made:
        simulated.stop()
