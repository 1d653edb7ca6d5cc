"""Short texts of modules on loan: not interned, the same values, on the same lines."""

import ast
import subprocess
from pathlib import Path

from outpost.build import compile as compiling
from outpost.build import names
from outpost.build.strings import ON_LOAN, loosened
from outpost.paths import project_root, tool_path

PATH = "node/core/config.py"
SOURCE = '''"""What a module says
of itself, with "low_mv" in it."""

LIMIT = const("fixed")


def f(table: "Mapping", size="medium") -> "Result":
    """Say "low_mv"."""
    if "low_mv" in table:
        return table["low_mv"] + "%s-end" % size, "a text of many bytes", ("high" "er"), "state"
    return {"low_mv": "ünter", 'high_mv': "\\n"}
'''


def test_values_and_lines_stay() -> None:
    small = loosened({PATH: SOURCE})[PATH]
    assert small != SOURCE and small.count("\n") == SOURCE.count("\n")
    spaces: list[dict] = [{"const": str}, {"const": str}]
    exec(SOURCE, spaces[0])  # noqa: S102
    exec(small, spaces[1])  # noqa: S102
    for table in ({}, {"low_mv": "x"}):
        assert spaces[0]["f"](table) == spaces[1]["f"](table)
    places = [n.lineno for n in ast.walk(ast.parse(small)) if isinstance(n, ast.Return)]
    assert sorted(places) == [10, 11]


def test_only_what_would_be_interned_is_moved() -> None:
    body = loosened({PATH: SOURCE})[PATH].split("\n", 3)[3]
    assert "low_mv" not in body.replace('Say "low_mv"', "") and "high_mv" not in body
    for text in (
        'const("fixed")',
        '"a text of many bytes"',
        '"high" "er"',
        '"Mapping"',
        '"state"',
    ):
        assert text in body


def test_modules_that_stay_keep_theirs_and_what_they_intern_is_left_alone() -> None:
    stays = "node/core/outbox.py"
    found = loosened({stays: SOURCE, PATH: SOURCE})
    assert found[stays] == SOURCE and found[PATH] == SOURCE
    user = "def low_mv(self):\n    self.high_mv = 'medium'"
    body = loosened({stays: user, PATH: SOURCE})[PATH]
    assert 'table["low_mv"]' in body and "'high_mv'" in body and 'size="medium"' in body


def test_every_row_names_something() -> None:
    for row in ON_LOAN:
        path = project_root() / "firmware" / row
        assert path.is_dir() or path.with_suffix(".py").exists(), row


def test_the_words_said_to_be_in_the_rom_are() -> None:
    program = "import micropython\nmicropython.qstr_info()\n"
    program += "class T: pass\n"
    program += f"for w in {' '.join(sorted(names.texts()))!r}.split(): setattr(T, w, 1)\n"
    program += "micropython.qstr_info()\n"
    for vm in ("micropython", "micropython32"):
        run = subprocess.run(
            [tool_path(vm), "-c", program], capture_output=True, text=True, timeout=20, check=True
        )
        before, after = run.stdout.splitlines()
        assert before.split(", ")[1] == after.split(", ")[1]


def test_the_chip_interns_none_of_them(tmp_path: Path) -> None:
    words = [f"w{n}_of_{n}" for n in range(20)]
    source = (
        '"""Doc."""\nx = 0\ndef f():\n    return [' + ", ".join(f'"{w}"' for w in words) + "]\n"
    )
    counts = []
    for name, text in (("plain", source), ("loose", loosened({PATH: source})[PATH])):
        (tmp_path / f"{name}.py").write_text(text)
        mpy = compiling.compile_source(tmp_path / f"{name}.py", "m", 2)
        (tmp_path / f"{name}.mpy").write_bytes(mpy)
        (tmp_path / f"{name}.py").unlink()
        program = (
            f"import sys, micropython\nsys.path.insert(0, {str(tmp_path)!r})\n"
            f"micropython.qstr_info()\nimport {name}\nmicropython.qstr_info()\n"
            f"assert ' '.join({name}.f()) == {' '.join(words)!r}"
        )
        run = subprocess.run(
            [tool_path("micropython32"), "-c", program], capture_output=True, text=True, check=True
        )
        before, after = (line.split("n_qstr=")[1] for line in run.stdout.splitlines())
        counts.append(int(after.split(",")[0]) - int(before.split(",")[0]))
    assert counts[0] - counts[1] >= len(words) - 1, counts
