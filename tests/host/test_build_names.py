"""Names from the ROM: they cost no heap, mean nothing else, and a program does what it did."""

import subprocess
import tomllib
from pathlib import Path

import pytest
from outpost.build import names
from outpost.build.parsed import parse_all
from outpost.paths import tool_path

_PROGRAM = """
import micropython
class Thing:
    pass
micropython.qstr_info()
for name in {aliases!r}.split():
    setattr(Thing, name, 1)
micropython.qstr_info()
"""


@pytest.mark.parametrize("vm", ["micropython", "micropython32"])
def test_every_name_given_is_in_the_rom(vm: str) -> None:
    aliases = {*names.table().values(), *names.table("loader").values()}
    program = _PROGRAM.format(aliases=" ".join(sorted(aliases)))
    run = subprocess.run(
        [tool_path(vm), "-c", program], capture_output=True, text=True, timeout=20, check=True
    )
    before, after = run.stdout.splitlines()
    assert before.split(", ")[1] == after.split(", ")[1]


def test_a_name_that_is_not_in_the_rom_would_be_noticed() -> None:
    program = _PROGRAM.format(aliases="acosh nobody_has_this_in_its_rom")
    run = subprocess.run(
        [tool_path("micropython32"), "-c", program], capture_output=True, text=True, check=True
    )
    before, after = run.stdout.splitlines()
    assert before.split(", ")[1] != after.split(", ")[1]


def test_the_table_turns_names_of_ours_into_names_of_the_rom() -> None:
    for pairs in (names.table(), names.table("loader")):
        assert not set(pairs) & set(pairs.values())
        assert all(name.isidentifier() and alias.isidentifier() for name, alias in pairs.items())
    assert set(names.table("loader").values()) <= set(names.spare())


@pytest.fixture
def pairs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    found = tomllib.loads('[names]\nuptime_ms = "acosh"\nReporter = "ULONG"\nsettle = "gamma"\n')
    monkeypatch.setattr(names, "table", lambda: found["names"])
    return dict(found["names"])


def _renamed(sources: dict[str, str], kept: frozenset[str] = frozenset()) -> dict[str, str]:
    modules = parse_all(sources)
    usable = names.usable(modules, kept)
    return {path: m.edited(names.edits(m, usable)).source for path, m in modules.items()}


LIBRARY = """class Reporter:
    def __init__(self, uptime_ms):
        self.uptime_ms = uptime_ms

    def settle(self):
        return self.uptime_ms() + 1
"""
USER = """from node.library import Reporter
def answer():
    uptime_ms = 4
    return Reporter(lambda: uptime_ms).settle()
"""


def test_names_change_everywhere_and_lines_stay(pairs: dict[str, str]) -> None:
    done = _renamed({"node/library.py": LIBRARY, "node/user.py": USER})
    text = done["node/library.py"] + done["node/user.py"]
    assert not [name for name in pairs if name in text]
    assert "class ULONG:" in text and "import ULONG" in text and "def gamma(self)" in text
    assert len(done["node/user.py"].splitlines()) == len(USER.splitlines())
    space: dict = {}
    exec(done["node/library.py"], space)  # noqa: S102
    exec(done["node/user.py"].split("\n", 1)[1], space)  # noqa: S102
    assert space["answer"]() == 5


@pytest.mark.parametrize(
    "also",
    [
        "getattr(x, 'settle')",
        "for name in 'settle other'.split(): pass",
        "f(settle=1)",
        "from somewhere import settle",
        "import node.core as settle",
        "try:\n    pass\nexcept OSError as settle:\n    pass",
        "def f():\n    global settle",
        "gamma = 3",
        "x.gamma()",
        "z = 'gamma'",
    ],
)
def test_a_name_that_might_mean_something_else_stays(pairs: dict[str, str], also: str) -> None:
    done = _renamed({"node/library.py": LIBRARY, "node/user.py": USER, "node/more.py": also})
    assert "def settle(self)" in done["node/library.py"]
    assert ".settle()" in done["node/user.py"]
    assert "class ULONG:" in done["node/library.py"]


def test_names_of_others_stay(pairs: dict[str, str]) -> None:
    done = _renamed({"node/library.py": LIBRARY}, frozenset({"Reporter"}))
    assert "class Reporter:" in done["node/library.py"]
    assert "acosh" in done["node/library.py"]


def test_an_exception_keeps_its_name_and_prose_does_not_count(pairs: dict[str, str]) -> None:
    source = '"""settle uptime_ms"""\nclass Reporter(ValueError):\n    "settle"\n' + LIBRARY[16:]
    done = _renamed({"node/library.py": source})["node/library.py"]
    assert "class Reporter(ValueError)" in done
    assert "def gamma(self)" in done


SHARED = {"settle": "gamma", "depart": "gamma"}


def _both(monkeypatch: pytest.MonkeyPatch, **sources: str) -> dict[str, str]:
    monkeypatch.setattr(names, "table", lambda: SHARED)
    return _renamed({f"node/{name}.py": source for name, source in sources.items()})


HARBOUR = "class Ship:\n    def depart(self):\n        return 1\n"
SCALES = "class Pan:\n    def settle(self):\n        return 2\n"


def test_names_of_different_modules_become_one(monkeypatch: pytest.MonkeyPatch) -> None:
    done = _both(monkeypatch, harbour=HARBOUR, scales=SCALES, user="ship.depart()")
    assert "def gamma(self)" in done["node/harbour.py"]
    assert "def gamma(self)" in done["node/scales.py"]
    assert done["node/user.py"] == "ship.gamma()"


@pytest.mark.parametrize(
    "more",
    [
        "def f(ship, pan):\n    ship.depart()\n    pan.settle()",
        "from node.harbour import Ship\nclass Yacht(Ship):\n    def settle(self):\n        pass",
        "def f(ship):\n    ship.settle = 3",
        "def f(ship):\n    del ship.depart",
    ],
)
def test_names_that_one_object_may_have_stay_two(
    monkeypatch: pytest.MonkeyPatch, more: str
) -> None:
    text = "".join(_both(monkeypatch, harbour=HARBOUR, scales=SCALES, more=more).values())
    assert text.count("gamma") == (HARBOUR + SCALES + more).count("settle")
    assert text.count("depart") == (HARBOUR + SCALES + more).count("depart")


def test_a_constant_keeps_the_underscore_that_lets_the_compiler_drop_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(names, "table", lambda: {"_WIDTH": "gamma", "_width": "acos"})
    done = _renamed({"node/m.py": "_WIDTH = const(3)\n_width = 3\n"})
    assert done["node/m.py"] == "_WIDTH = const(3)\nacos = 3\n"
