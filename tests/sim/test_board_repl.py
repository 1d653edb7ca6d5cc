"""The real mpremote against the simulated board."""

import hashlib
import subprocess

import pytest
from outpost.paths import tool_path

LOOP = """
import time
n = 0
while True:
    print('tick', n)
    n += 1
    time.sleep_ms(100)
"""


@pytest.fixture
def mpremote():
    def run(board, *arguments):
        command = [str(tool_path("mpremote")), "connect", board.repl(), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)

    return run


def test_it_interrupts_a_running_program_and_evaluates(boards, mpremote):
    board = boards("esp32_generic", LOOP)
    board.wait_for("line:tick")
    assert mpremote(board, "eval", "1+1").stdout.strip() == "2"
    done = mpremote(board, "resume", "exec", "import sys; print(sys.platform, n > 0)")
    assert "NameError" in done.stdout + done.stderr, "a soft reset came before: nothing is left"
    assert mpremote(board, "exec", "import sys; print(sys.platform)").stdout.strip() == "esp32"


def test_a_busy_loop_is_interrupted_too(boards, mpremote):
    board = boards("rpi_pico_w", "print('busy')\nwhile True:\n    pass\n")
    board.wait_for("line:busy")
    assert mpremote(board, "eval", "2+2").stdout.strip() == "4"


def test_files_go_both_ways(boards, mpremote, tmp_path):
    board = boards("rpi_pico_w", LOOP)
    data = hashlib.sha256(b"seed").digest() * 100
    local = tmp_path / "up.bin"
    local.write_bytes(data)
    board.wait_for("line:tick")
    assert mpremote(board, "fs", "cp", str(local), ":up.bin").returncode == 0
    digest = mpremote(board, "fs", "sha256sum", "up.bin").stdout.split()[-1]
    assert digest == hashlib.sha256(data).hexdigest()
    back = tmp_path / "down.bin"
    assert mpremote(board, "fs", "cp", ":up.bin", str(back)).returncode == 0
    assert back.read_bytes() == data
    assert "up.bin" in mpremote(board, "fs", "ls").stdout
    assert mpremote(board, "fs", "rm", "up.bin").returncode == 0
    assert "up.bin" not in mpremote(board, "fs", "ls").stdout


def test_errors_come_back_as_errors(boards, mpremote):
    board = boards("esp32_generic", "print('hello')")
    board.wait_for("repl")
    done = mpremote(board, "exec", "1/0")
    text = done.stdout + done.stderr
    assert done.returncode == 1
    assert "ZeroDivisionError" in text and "chip/" not in text


def test_resets(boards, mpremote):
    board = boards("esp32_generic", LOOP)
    board.wait_for("line:tick")
    assert mpremote(board, "soft-reset").returncode == 0
    assert board.resets == ["power_on", "soft"]
    assert mpremote(board, "reset").returncode == 0
    board.wait_for("boot:reset")
    board.wait_for("line:tick 0")


def test_a_script_of_some_size_runs(boards, mpremote, tmp_path):
    """Raw paste with flow control: more than a window."""
    board = boards("esp32_generic", LOOP)
    script = tmp_path / "script.py"
    script.write_text("total = 0\n" + "total += 1\n" * 300 + "print('total', total)\n")
    board.wait_for("line:tick")
    assert mpremote(board, "run", str(script)).stdout.strip() == "total 300"


def test_it_gets_into_a_board_that_resets_all_the_time(boards, mpremote):
    board = boards("esp32_generic", "import machine, time\ntime.sleep_ms(30)\nmachine.reset()\n")
    board.wait_for("reset")
    assert mpremote(board, "eval", "3+3").stdout.strip() == "6"
