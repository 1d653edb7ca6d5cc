"""`outpost sim` as people and scripts use it."""

import json
import signal
import subprocess
import sys
import time

import pytest
from outpost.boards import load_board
from outpost.build.image import format_image

MAIN = b"""
import machine, time
print('hello', machine.reset_cause())
open('f', 'wb').write(b'x' * 1000)
print('written')
"""


@pytest.fixture
def sim(tmp_path):
    image = tmp_path / "rpi_pico_w.img"
    image.write_bytes(format_image(load_board("rpi_pico_w"), {"/main.py": MAIN}))

    def run(*arguments):
        command = [sys.executable, "-m", "outpost.cli.main", "sim", *arguments]
        folder = ["--dir", str(tmp_path / "bench")]
        return subprocess.run(
            [*command, *folder], capture_output=True, text=True, timeout=60, check=False
        )

    run.image = image
    run.folder = tmp_path / "bench"
    return run


def test_new_run_list_remove(sim):
    assert sim("new", "one", "--image", str(sim.image)).returncode == 0
    assert sim("new", "one", "--image", str(sim.image)).returncode == 7
    listed = json.loads(sim("list", "--json").stdout)["result"]
    assert [(board["name"], board["board"]) for board in listed] == [("one", "rpi_pico_w")]
    done = sim("run", "one", "--for", "1", "--json")
    found = json.loads(done.stdout)["result"]["one"]
    assert found["boots"] == {"power_on": 1} and found["flash"]["violations"] == 0
    assert "hello 1" in done.stderr and "written" in done.stderr
    assert sim("remove", "one").returncode == 0
    assert sim("run", "one").returncode == 3
    assert not list(sim.folder.iterdir())


def test_an_image_runs_by_its_path_and_is_not_changed(sim):
    before = sim.image.read_bytes()
    done = sim("run", str(sim.image), "--for", "0.5", "--power-cut-at", "1")
    assert done.returncode == 0
    assert "[power_cut]" in done.stderr and "boots: 2 power_on" in done.stdout
    assert sim.image.read_bytes() == before


def test_mistakes_are_usage_errors(sim):
    assert sim("run", "nobody").returncode == 3
    assert sim("new", "Bad Name", "--board", "rpi_pico_w").returncode == 2
    assert sim("new", "x").returncode == 2
    assert sim("new", "x", "--board", "esp64").returncode == 2
    sim("new", "y", "--board", "rpi_pico_w")
    assert sim("run", "y", "--set", "a=b").returncode == 2


def test_ctrl_c_ends_with_a_report(sim):
    sim("new", "one", "--image", str(sim.image))
    command = [sys.executable, "-m", "outpost.cli.main", "sim", "run", "one", "--repl", "--json"]
    child = subprocess.Popen(
        [*command, "--dir", str(sim.folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A run in the background of a shell ignores Ctrl-C, and so would its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    seen = ""
    # the board speaks while the command still says where it is to be found
    while "written" not in seen or "mpremote connect socket://127.0.0.1:" not in seen:
        line = child.stderr.readline()
        assert line, f"it ended early: {seen}"
        seen += line
    time.sleep(0.1)
    child.send_signal(signal.SIGINT)
    out, _ = child.communicate(timeout=60)
    assert child.returncode == 0
    assert json.loads(out)["result"]["one"]["boots"] == {"power_on": 1}
