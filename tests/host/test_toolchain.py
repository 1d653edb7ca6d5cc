"""The set-up: which archive it would use, which tools it takes, what it says when it cannot."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from outpost import debian, toolchain
from outpost.errors import OutpostError
from outpost.toolchain import TOOLS, Found, State, Toolchain

ROOT = Path(__file__).resolve().parents[2]
VM, VM32, MOSQUITTO = TOOLS

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
DEB822 = f"""\
Types: deb
# a comment between fields
URIs: http://archive.example/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: {KEYRING}

Types: deb
URIs: http://archive.example/debian-security
Suites: bookworm-security
Components: main
Signed-By: {KEYRING}

Enabled: no
Types: deb
URIs: http://off.example/debian
Suites: bookworm
Components: main
"""
THIRD_PARTY = (
    "deb [signed-by=/usr/share/keyrings/vendor.gpg] http://vendor.example bookworm main\n"
)


def etc_apt(tmp_path: Path, **files: str) -> Path:
    parts = tmp_path / "apt" / "sources.list.d"
    parts.mkdir(parents=True)
    for name, text in files.items():
        stem, suffix = name.rsplit("_", 1)
        (parts / f"{stem}.{suffix}").write_text(text)
    return tmp_path / "apt"


def test_an_older_debian_is_moved_to_the_release_we_need(tmp_path: Path) -> None:
    apt = etc_apt(tmp_path, debian_sources=DEB822, vendor_list=THIRD_PARTY)
    assert debian.private_sources(apt, "debian", "bookworm") == (
        "Types: deb\nURIs: http://archive.example/debian\nSuites: trixie\n"
        f"Components: main\nSigned-By: {KEYRING}\n"
    )


def test_the_old_one_line_format(tmp_path: Path) -> None:
    apt = etc_apt(tmp_path, vendor_list=THIRD_PARTY)
    (apt / "sources.list").write_text(
        "# deb http://off.example bookworm main\n"
        "deb-src http://archive.example/debian bookworm main\n"
        "deb http://archive.example/debian bookworm main non-free # base\n"
        "deb http://archive.example/debian bookworm-updates main\n"
    )
    text = "Types: deb\nURIs: http://archive.example/debian\nSuites: trixie\nComponents: main\n"
    assert debian.private_sources(apt, "debian", "bookworm") == text


def test_a_current_debian_and_ubuntu_keep_their_own_release(tmp_path: Path) -> None:
    ubuntu = DEB822.replace("bookworm", "plucky").replace("debian-archive", "ubuntu-archive")
    apt = etc_apt(tmp_path, a_sources=DEB822.replace("bookworm", "trixie"), b_sources=ubuntu)
    assert "Suites: trixie\n" in debian.private_sources(apt, "debian", "trixie")
    assert "Suites: plucky\n" in debian.private_sources(apt, "ubuntu", "plucky")


def test_a_mirror_may_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(debian.MIRROR_VARIABLE, "http://mirror.example/debian")
    monkeypatch.setattr(debian, "KEYRING", tmp_path / "keyring.gpg")
    with pytest.raises(OutpostError) as caught:
        debian.private_sources(tmp_path, "ubuntu", "noble")
    assert caught.value.code == "no-keyring"
    (tmp_path / "keyring.gpg").touch()
    text = debian.private_sources(tmp_path, "ubuntu", "noble")
    assert "URIs: http://mirror.example/debian\nSuites: trixie\n" in text


@pytest.mark.parametrize(
    ("said", "word"),
    [
        (["W: Failed to fetch http://a  Could not resolve 'a'"], "network"),
        (["E: You don't have enough free space in /x"], "disk"),
        (["E: The repository 'x' is not signed."], "keyring"),
        ([], "PATH"),
    ],
)
def test_what_apt_says_becomes_advice(said: list[str], word: str) -> None:
    assert word in (debian._apt_error("update", said).fix or "")


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("1.25.0", (1, 25, 0)), ("2.0.21", (2, 0, 21)), ("1.26.0-preview.3", (1, 26, 0)), ("", ())],
)
def test_version_numbers(text: str, numbers: tuple[int, ...]) -> None:
    assert toolchain.version_tuple(text) == numbers


def test_versions_compare_as_numbers() -> None:
    assert toolchain.new_enough(VM, "1.100.0")
    assert not toolchain.new_enough(VM, "1.9.4")
    assert not toolchain.new_enough(VM, "")


def program(folder: Path, name: str, body: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    file.write_text("#!/bin/sh\n" + body + "\n")
    file.chmod(0o755)
    return file


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Callable[[], Toolchain]]:
    """A PATH of our own, no apt, and a tool chain over a temporary checkout."""
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.setattr(toolchain, "SBIN", ())
    (tmp_path / "checkout").mkdir()
    return tmp_path / "path", lambda: Toolchain(tmp_path / "checkout", lambda line: None)


def test_tools_on_path_are_taken_when_new_enough(bench: tuple) -> None:
    path, make = bench
    program(path, "micropython", "echo version 1.26.1 64")
    program(path, "mosquitto", "echo mosquitto version 2.0.18; exit 3")
    tools = make()
    tools.obtain_all()
    assert tools.state.tools["micropython"] == Found("1.26.1", str(path / "micropython"))
    assert tools.state.tools["mosquitto"].version == "2.0.18"
    assert "apt" in tools.state.tools["micropython32"].missing
    again = make()
    assert all(again.settled(tool) for tool in TOOLS)


def test_a_tool_that_went_away_is_not_settled(bench: tuple) -> None:
    path, make = bench
    program(path, "micropython", "echo version 1.26.1 64")
    program(path, "mosquitto", "echo mosquitto version 2.0.18")
    make().obtain_all()
    (path / "mosquitto").unlink()
    assert [tool.name for tool in TOOLS if not make().settled(tool)] == ["mosquitto"]


@pytest.mark.parametrize(
    "body", ["echo version 1.24.1 64", "echo ImportError; exit 1", "exit 0", "kill -9 $$"]
)
def test_an_unsuitable_tool_is_not_taken(bench: tuple, body: str) -> None:
    path, make = bench
    program(path, "micropython", body)
    with pytest.raises(OutpostError) as caught:
        make().obtain_all()
    assert caught.value.code == "tool-missing"
    assert "make setup" in (caught.value.fix or "") or "brew" in (caught.value.fix or "")


def test_a_hanging_tool_does_not_hang_the_set_up(
    bench: tuple, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = bench
    monkeypatch.setattr(toolchain, "PROBE_TIMEOUT_S", 0.3)
    assert toolchain.probe(VM, program(path, "micropython", "exec /bin/sleep 60")) == ""


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"schema": 99}', '{"schema": 1, "tools": 3}', "\0"]
)
def test_a_damaged_state_counts_as_nothing_done(tmp_path: Path, text: str) -> None:
    (tmp_path / "state.json").write_text(text)
    assert State.load(tmp_path / "state.json") == State()


def test_the_state_survives(tmp_path: Path) -> None:
    state = State("digest", {"mosquitto": Found("2.0.21", "here")})
    state.save(tmp_path / "deep" / "state.json")
    assert State.load(tmp_path / "deep" / "state.json") == state


def test_the_wrapper_is_the_program_itself(tmp_path: Path, vm: Path) -> None:
    """From any folder; exec keeps the process id, so that a signal reaches the VM."""
    script = tmp_path / "wait.py"
    script.write_text("import time\nprint('up')\ntime.sleep(60)\n")
    relative = os.path.relpath(vm, tmp_path)
    child = subprocess.Popen(
        [relative, str(script)], cwd=tmp_path, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL
    )
    assert child.stdout and child.stdout.readline() == b"up\n"
    child.send_signal(signal.SIGKILL)
    assert child.wait(5) == -signal.SIGKILL
    assert child.stdout.read() == b""  # nobody else holds the pipe
    child.stdout.close()


def test_the_wrapper_leaves_the_environment_alone(vm: Path) -> None:
    ask = "import os; print(os.getenv('LD_LIBRARY_PATH'))"
    environment = {k: v for k, v in os.environ.items() if k != "LD_LIBRARY_PATH"}
    done = subprocess.run([vm, "-c", ask], capture_output=True, text=True, env=environment)
    assert done.stdout == "None\n"


def test_the_vms_have_their_word_sizes(vms: dict[int, Path]) -> None:
    for bits, vm in vms.items():
        tool = VM if bits == 64 else VM32
        assert toolchain.new_enough(tool, toolchain.probe(tool, vm))


def bootstrap(
    checkout: Path, *before: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *before, str(checkout / "host_tools" / "bootstrap.py")],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env={"PATH": os.environ["PATH"], **environment},
        timeout=60,
    )


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Enough of a checkout to start the set-up in."""
    home = tmp_path / "checkout"
    (home / "host_tools" / "outpost").mkdir(parents=True)
    for name in ("requirements.lock", "pyproject.toml", "host_tools/bootstrap.py"):
        shutil.copy(ROOT / name, home / name)
    for name in ("__init__", "errors", "debian", "toolchain"):
        shutil.copy(ROOT / f"host_tools/outpost/{name}.py", home / "host_tools" / "outpost")
    return home


def test_a_python_without_venv_is_told_what_to_install(checkout: Path, tmp_path: Path) -> None:
    hide = "import importlib.util as u; f = u.find_spec\n"
    hide += "u.find_spec = lambda n, p=None: None if n == 'ensurepip' else f(n, p)\n"
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(hide)
    done = bootstrap(checkout, PYTHONPATH=str(tmp_path / "site"))
    assert done.returncode == 2
    assert "no-venv" in done.stderr and "apt-get install python3" in done.stderr


def test_a_full_disk_is_told(checkout: Path, tmp_path: Path) -> None:
    lie = "import shutil; shutil.disk_usage = lambda p: type('U', (), {'free': 5 << 20})\n"
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(lie)
    done = bootstrap(checkout, PYTHONPATH=str(tmp_path / "site"))
    assert done.returncode == 1
    assert "disk-full" in done.stderr and "5 MB are free" in done.stderr


def test_a_failing_pip_is_told_and_not_recorded(checkout: Path) -> None:
    (checkout / "requirements.lock").write_text("no-such-package-of-outpost==99.0\n")
    done = bootstrap(checkout, PIP_NO_INDEX="1")
    assert done.returncode == 1
    assert "[pip]" in done.stderr and "make setup" in done.stderr
    assert not (checkout / ".tools" / "state.json").exists()


def test_a_second_set_up_does_nothing_and_is_quick() -> None:
    began = _children_s()
    done = bootstrap(ROOT)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert _children_s() - began < 1.0


def _children_s() -> float:
    """Processor time of what this process has run: what else the machine does is not in it."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_the_lock_has_every_direct_dependency_and_names_no_host() -> None:
    import tomllib

    lock = (ROOT / "requirements.lock").read_text()
    pins = {line.split("==")[0].lower().replace("_", "-") for line in lock.splitlines()}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = project["dependencies"] + extras["test"] + extras["dev"][1:]
    assert {w.split("==")[0] for w in wanted} <= pins
    assert {w.lower() for w in wanted} <= {x.lower().replace("_", "-") for x in lock.splitlines()}
    assert "//" not in lock and "--" not in lock


def test_the_recorded_state_tells_where_each_tool_came_from() -> None:
    state = json.loads((ROOT / ".tools" / "state.json").read_text())
    assert set(state["tools"]) == {tool.name for tool in TOOLS}
    assert all(found["source"] or found["missing"] for found in state["tools"].values())
