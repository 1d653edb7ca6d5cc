"""`make setup`: a virtual environment and the tools, from nothing but Python (>= 3.11), apt or
Homebrew.

Run by the system's Python, so the standard library only.  Every step records its success; a second
run finds nothing to do and looks at a few files to know it.  Options: --force repeats all steps,
--retry those optional tools that could not be had.
"""

import sys

MINIMUM_PYTHON = (3, 11)

if sys.version_info < MINIMUM_PYTHON:
    import os
    import shutil

    for minor in (13, 12, 11, 14):
        newer = shutil.which("python3.%d" % minor)
        if newer:
            os.execv(newer, [newer, *sys.argv])
    sys.exit("error: Outpost needs Python >= 3.11; this is %s" % sys.version.split()[0])

import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "host_tools"))

from outpost.errors import ExitCode, OutpostError
from outpost.toolchain import TOOLS, Toolchain

NEEDED_BYTES = 700 * 1024 * 1024
VENV = ROOT / ".venv"


def say(line: str) -> None:
    print(line, flush=True)


def environment_digest() -> str:
    """Changes whenever the virtual environment has to be brought up to date."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    installed = [settings["project"], settings["tool"]["setuptools"], sys.version_info[:2]]
    digest = hashlib.sha256(repr(installed).encode())
    digest.update((ROOT / "requirements.lock").read_bytes())
    return digest.hexdigest()


def check_machine() -> None:
    """Refuse early, and say what is missing."""
    needed = NEEDED_BYTES if not VENV.exists() else NEEDED_BYTES // 4
    free = shutil.disk_usage(ROOT).free
    if free < needed:
        message = f"{free // 2**20} MB are free in {ROOT}; about {needed // 2**20} MB are needed"
        raise OutpostError("disk-full", message, "free some disk space, then: make setup")
    if not all(importlib.util.find_spec(name) for name in ("venv", "ensurepip")):
        version = "{}.{}".format(*sys.version_info[:2])
        raise OutpostError(
            "no-venv",
            f"this Python ({sys.executable}) comes without venv or ensurepip",
            f"sudo apt-get install python{version}-venv, then: make setup",
            ExitCode.USAGE,
        )


def make_environment() -> None:
    """A virtual environment with exactly the locked packages, and this project as an editable
    install."""
    python = VENV / "bin" / "python"
    if not _works(python):
        say("  creating .venv")
        _run([sys.executable, "-m", "venv", "--clear", str(VENV)], "no-venv")
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    pip += ["--no-input"]
    say("  installing the locked Python packages …")
    _run([*pip, "-r", str(ROOT / "requirements.lock")], "pip")
    _run([*pip, "--no-build-isolation", "--no-deps", "-e", str(ROOT)], "pip")


def _works(python: Path) -> bool:
    probe = "import pip, sys; sys.exit(sys.version_info[:2] != ({}, {}))".format(
        *sys.version_info[:2]
    )
    try:
        return (
            subprocess.run([str(python), "-c", probe], stderr=subprocess.DEVNULL).returncode == 0
        )
    except OSError:
        return False


def _run(command: list[str], code: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode == 0:
        return
    lines = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
    errors = [line for line in lines if "ERROR" in line or "error" in line] or lines
    shown = "\n    ".join(errors[-5:])
    fix = "check the network (and pip's proxy and index settings), then: make setup"
    if "No space left" in shown:
        fix = "free some disk space, then: make setup"
    raise OutpostError(code, f"{' '.join(command[1:4])} … failed:\n    {shown}", fix)


def set_up(force: bool, retry: bool) -> bool:
    """Do what is left to do; False when that was nothing."""
    tools = Toolchain(ROOT, say)
    if force:
        tools.state.environment = ""
        tools.state.tools.clear()
    if retry:
        gone = [name for name, found in tools.state.tools.items() if found.missing]
        for name in gone:
            del tools.state.tools[name]
    digest = environment_digest()
    current = tools.state.environment == digest and os.access(VENV / "bin" / "outpost", os.X_OK)
    if current and all(tools.settled(tool) for tool in TOOLS):
        return False
    check_machine()
    if not current:
        say("setup: Python environment")
        make_environment()
        tools.state.environment = digest
        tools.save()
    say("setup: tools")
    tools.obtain_all()
    return True


def main() -> int:
    os.chdir(ROOT)
    (ROOT / ".tools").mkdir(exist_ok=True)
    with open(ROOT / ".tools" / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            if set_up("--force" in sys.argv, "--retry" in sys.argv):
                say("setup: done")
        except OutpostError as error:
            print(f"error [{error.code}]: {error.message}", file=sys.stderr)
            print(f"  fix: {error.fix}" if error.fix else "", file=sys.stderr)
            return error.exit_code
        except KeyboardInterrupt:
            return int(ExitCode.INTERRUPTED)
        except OSError as error:
            print(f"error [os-error]: {error}", file=sys.stderr)
            return int(ExitCode.FAILED)
    return 0


if __name__ == "__main__":
    sys.exit(main())
