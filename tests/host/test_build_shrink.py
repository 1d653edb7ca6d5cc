"""Shrinking changes names that nobody else can see, and nothing a program does."""

import ast

import pytest
from outpost.build import names
from outpost.build.shrink import shrink, shrink_loader

pytestmark = pytest.mark.afresh

ROM = names.spare()

# What these examples are asked from outside.
ASKED = frozenset(("answer", "f", "g", "_hook", "_made", "_imported", "total", "Box", "Child"))


def one(source: str, **others: str) -> str:
    return shrink({"m": source, **others}, ASKED)["m"]


def run(source: str) -> dict:
    found: dict = {}
    exec(compile(source, "m", "exec"), found)  # noqa: S102  what it does is the question
    return found


EXAMPLE = '''"""Doc with _value and size in it."""
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_LIMIT = 3
_unseen = [0]


class Box:
    """A _value."""

    def __init__(self, size, p1=2, *rest):
        self._value = size
        self._rest = rest
        self.p1 = p1

    def _twice(self, size):
        return [size * self._value for size in range(size)]

    def total(self, size: "Any", scale=1):
        def inner(other, scale):
            return other + size + scale + _LIMIT

        return sum(self._twice(size)) + inner(size, 5) * scale + (lambda size: size)(7)


def _made(size):
    global _unseen
    _unseen = [size]
    import math as size2

    return Box(size, 4, 5, _unseen, size2.floor(2.5))


def answer(a, b):
    box = _made(a)
    try:
        raise ValueError(b)
    except ValueError as b:
        return box.total(3, scale=2), box.p1, getattr(box, "total")(2), str(b), _unseen
'''


def test_it_does_what_it_did() -> None:
    small = one(EXAMPLE)
    assert run(small)["answer"](4, "x") == run(EXAMPLE)["answer"](4, "x")


def test_private_names_are_shared_between_modules() -> None:
    one, two = "def f(self):\n    self._mine = 1", "def g(self):\n    self._thine = 2"
    found = shrink({"m": one, "n": two}, ASKED)
    assert f"self.{ROM[0]} = 1" in found["m"] and f"self.{ROM[0]} = 2" in found["n"]


def test_lines_stay_where_they_are() -> None:
    small = one(EXAMPLE)
    assert "_value" in ast.get_docstring(ast.parse(small))
    assert small.count("\n") == EXAMPLE.count("\n")
    before, after = ast.parse(EXAMPLE), ast.parse(small)
    lines = {n.name: n.lineno for n in before.body if isinstance(n, ast.FunctionDef)}
    assert lines["answer"] in [n.lineno for n in after.body if isinstance(n, ast.FunctionDef)]
    assert "typing" not in small and "TYPE_CHECKING" not in small


def test_what_others_use_keeps_its_name() -> None:
    base = "class Base:\n    def _hook(self):\n        return self._own\n    _own = 1"
    child = "from m import Base\nclass Child(Base):\n    def _hook(self):\n        return 2"
    assert "_hook" in one(base, n=child) and "_own" in one(base, n=child)
    assert "_x" in one("def f(self):\n    self._x = 1", n="def g(o):\n    return o._x")
    assert "_x" in one("def f(self):\n    self._x = 1", n="getattr(o, '_x')")
    assert "_io_queue" in one("from asyncio import core\ncore._io_queue")
    assert "_imported" in one("def _imported():\n    pass", n="from m import _imported")


def test_names_given_by_keyword_stay() -> None:
    small = one("def f(wide, high):\n    return wide + high", n="f(wide=1, high=2)")
    assert "def f(wide, high)" in small
    small = one("def f(wide, high):\n    return wide + high", n="f(1, 2)")
    assert f"def f({ROM[0]}, {ROM[1]})" in small and f"return {ROM[0]} + {ROM[1]}" in small


def test_a_local_called_like_a_new_name_is_not_captured() -> None:
    first, second = ROM[:2]
    source = f"def f(size, other):\n    {first}, {second}, _a = 1, 2, 3\n"
    source += f"    return size, other, {first}, {second}, _a"
    assert run(one(source))["f"](8, 9) == (8, 9, 1, 2, 3)


def test_const_is_imported_only_where_it_is_called() -> None:
    line = "from micropython import const\n"
    assert "import" not in one(line + "_A = const(1)\nB = const(2)")
    assert "import" in one(line + "print(const(1))")


def test_a_change_in_one_module_leaves_the_others_alone() -> None:
    before = shrink({"m": EXAMPLE, "n": "def g(self):\n    self._two = 2"}, ASKED)
    more = "def g(self, more):\n    self._two = self._six = more"
    after = shrink({"m": EXAMPLE, "n": more}, ASKED)
    assert before["m"] == after["m"] and before["n"] != after["n"]


def test_what_nobody_names_is_left_out() -> None:
    source = (
        "class A:\n    def f(self):\n        return 1\n\n    @property\n    def idle(self):\n"
        "        return _deep()\n\n    def named(self):\n        return 2\n\n"
        "    def __len__(self):\n        return 3\n\n\ndef _deep():\n    return 4\n"
    )
    small = one(source, n="getattr(o, 'named')")
    assert "idle" not in small and "property" not in small and small.count("\n") == 17
    assert "named" in small and "__len__" in small and "def f" in small
    assert "return 4" not in small  # its only caller is gone
    kept = shrink({"m": source}, ASKED, frozenset({"m"}))["m"]
    assert "idle" in kept and "return 4" in kept


def test_a_function_alone_in_its_class_stays() -> None:
    assert "def alone" in one("class A:\n    def alone(self):\n        return 1")
    two = "class A:\n    def one(self):\n        return 1\n    def other(self):\n        return 2"
    assert "return 1" in one(two) and "return 2" not in one(two)


CONSTANTS = """from micropython import const
WIDE = const(7)
HIGH = const(0x30)
TEXT = const("t")
_OWN = const(2)


def g():
    return WIDE + HIGH + _OWN
"""


def both(source: str) -> dict[str, str]:
    return shrink({"a/m.py": CONSTANTS, "a/n.py": source}, ASKED)


def test_constants_of_other_modules_are_put_in_place() -> None:
    found = both("from a import m\n\n\ndef f(x):\n    return m.WIDE, x == m.HIGH")
    assert f"return 7, {ROM[0]} == 48" in found["a/n.py"]
    assert "_a = const(7)" in found["a/m.py"] and "_a + _b" in found["a/m.py"]  # folded there


def test_an_import_of_constants_is_gone() -> None:
    found = both("from a.m import WIDE, g\nfrom a.m import (\n    HIGH,\n)\nx = WIDE + HIGH + g()")
    assert found["a/n.py"].split("\n") == ["from a.m import g", "", "", "", "x = 7 + 48 + g()"]
    many = both("from a.m import (\n    WIDE,\n    g,\n)\nx = WIDE + g()")["a/n.py"]
    assert many.split("\n") == ["from a.m import g", "", "", "", "x = 7 + g()"]


def test_a_constant_that_is_reached_otherwise_stays() -> None:
    for source in (
        "from a import m\nx = getattr(m, 'WIDE')",
        "import a.m\nx = a.m.WIDE",
        "def f(box):\n    return box.WIDE",
        "WIDE = 3\nx = WIDE",
        "def f(WIDE):\n    return WIDE",
    ):
        found = both(source)
        assert "\nWIDE = const(7)" in found["a/m.py"], source
        assert "= 7" not in found["a/n.py"], source
    assert "TEXT = const" in both("from a import m\nx = m.TEXT")["a/m.py"]


def test_a_private_name_is_none_that_somebody_else_puts_on_the_object() -> None:
    found = one("class Box:\n    def f(self):\n        self._own = 1", n=f"box.{ROM[0]} = 2")
    assert f"self.{ROM[1]} = 1" in found


LOADER = """def give(doc, size=1):
    return _part(doc) + inner(size)


def _part(doc):
    return doc


def inner(size):
    return size


def stays():
    return _asked()


def _asked():
    return 3
"""


def test_the_loader_keeps_what_it_gives_the_application(monkeypatch) -> None:
    tables = {"loader": {"inner": "acosh", "stays": "asinh"}, "names": names.table()}
    monkeypatch.setattr(names, "table", lambda part="names": tables[part])
    application = "from loader import m\nm.give(1, size=2)\nm.stays()\nm._asked()"
    small = shrink_loader({"loader/m.py": LOADER}, [application])["loader/m.py"]
    assert "size=1)" in small and "def give(" in small  # a keyword, a public name
    assert "def acosh(" in small and "inner" not in small
    assert "def stays(" in small and "def _asked(" in small  # the application asks for them
    assert "_part" not in small and "doc" not in small
    assert small.count("\n") == LOADER.count("\n")
