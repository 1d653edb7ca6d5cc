"""What a simulated board leaves behind: nothing."""

import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest


def children(pid):
    """All descendants of `pid`, by /proc."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if stat[0] != "Z":
                parents.setdefault(int(stat[1]), []).append(int(entry.name))
    return list(_walk(parents, pid))


def _walk(parents, pid):
    for child in parents.get(pid, []):
        yield child
        yield from _walk(parents, child)


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def gone_within(pids, seconds):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not any(alive(pid) for pid in pids):
            return True
        time.sleep(0.02)
    return False


def test_stop_leaves_no_process_thread_port_or_descriptor(boards):
    boards("esp32_generic", "print('warm')").wait_for("line:warm")
    gc.collect()
    threads, descriptors = threading.active_count(), len(os.listdir("/proc/self/fd"))
    before = set(children(os.getpid()))
    board = boards("rpi_pico_w", "print('up')\nwhile True: pass")
    board.wait_for("line:up")
    made = set(children(os.getpid())) - before
    assert len(made) == 2  # the chip and its boot
    board.stop()
    assert gone_within(made, 2)
    assert threading.active_count() == threads
    # The state file stays mapped (and its descriptor open) while the object is there.
    assert len(os.listdir("/proc/self/fd")) <= descriptors + 1


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_runner_takes_its_boards_with_it(tmp_path, how):
    script = textwrap.dedent(f"""
        import time
        from outpost.boards import load_board
        from outpost.build.image import format_image
        from outpost.sim import SimBoard
        board = load_board("esp32_generic")
        path = {str(tmp_path / "orphan.img")!r}
        main = b"print('up')\\nwhile True: pass"
        open(path, "wb").write(format_image(board, {{"/main.py": main}}))
        simulated = SimBoard(board, path).start()
        simulated.wait_for("line:up")
        print("up", flush=True)
        time.sleep(60)
    """)
    runner = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    try:
        assert runner.stdout.readline().strip() == "up"
        made = list(children(runner.pid))
        assert len(made) == 2
    finally:
        runner.send_signal(how)
        runner.wait()
        runner.stdout.close()
    assert gone_within(made, 3)


def test_many_boards_at_once(boards):
    made = [boards("esp32_generic", f"print('board', {n})") for n in range(8)]
    for n, board in enumerate(made):
        board.wait_for(f"line:board {n}")
    assert len({board.uid for board in made}) == 8
    assert len({board.repl() for board in made}) == 8


def test_a_program_that_ends_itself_badly_is_a_panic(boards):
    """A hard crash reads as HARD_RESET on ESP32."""
    program = """
import machine, uctypes
print('cause', machine.reset_cause())
if machine.reset_cause() == machine.PWRON_RESET:
    uctypes.bytearray_at(1, 1)[0] = 1
print('done')
"""
    board = boards("esp32_generic", program)
    board.wait_for("panic")
    board.wait_for("line:done")
    assert "cause 2" in board.lines


def test_secrets_of_the_wiring_are_not_in_the_process_list(boards):
    from outpost.sim import AccessPoint, Wiring

    wiring = Wiring(access_points=[AccessPoint("home", "very-secret-psk")])
    boards("esp32_generic", "print('up')", wiring=wiring).wait_for("line:up")
    for pid in children(os.getpid()):
        assert b"very-secret-psk" not in Path(f"/proc/{pid}/cmdline").read_bytes()
    assert "very-secret-psk" not in repr(wiring)
