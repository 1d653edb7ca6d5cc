"""The tables in loader.layout's docstring are what the loader's code does."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from outpost.signing import documents, reasons

ROOT = Path(__file__).resolve().parents[2]
LOADER = ROOT / "firmware" / "loader"
FILES = sorted(LOADER.glob("*.py"))


def trees() -> list[ast.Module]:
    return [ast.parse(file.read_text()) for file in FILES]


def constants(name: str) -> str:
    """The string of a private constant, wherever in the loader it is."""
    for tree in trees():
        for node in tree.body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
                assert isinstance(node.value, ast.Call)
                return str(ast.literal_eval(node.value.args[0]))
    raise AssertionError(f"{name} is nowhere")


@pytest.mark.parametrize(
    ("table", "constant"),
    [
        ("ROOT_FIELDS", "_ROOT"),
        ("HEAD_FIELDS", "_HEAD"),
        ("RELEASE_FIELDS", "_RELEASE"),
        ("RUNTIME_FIELDS", "_RUNTIME"),
        ("OPS_FIELDS", "_OPS"),
        ("BOARD_FIELDS", "_BOARD"),
    ],
)
def test_field_tables(table: str, constant: str) -> None:
    words = constants(constant).split()
    checked = list(zip(words[::2], words[1::2], strict=True))
    listed = [
        (row.name, row.kind)
        for row in reasons.tables()[table].rows
        if not row.text.startswith("optional")
    ]
    assert checked == listed


def test_the_record_has_its_fields() -> None:
    from loader import record

    rows = reasons.tables()["RECORD_FIELDS"].rows
    first = record.load("/nowhere")
    assert [(row.name, row.kind) for row in rows] == [
        (name, type(value).__name__) for name, value in first.items()
    ]


def raised_codes() -> set[str]:
    """The second argument of refuse(), and the first of VerifyError()."""
    found = set()
    for tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func).rsplit(".", 1)[-1]
                position = {"refuse": 1, "VerifyError": 0}.get(name)
                if position is not None:
                    parts = ast.walk(node.args[position])
                    found |= {str(part.value) for part in parts if isinstance(part, ast.Constant)}
    return found


def test_every_reason_is_listed_and_every_listed_reason_is_used() -> None:
    assert raised_codes() == {row.name for row in reasons.tables()["REASONS"].rows}


def test_every_reason_is_driven_by_a_test_that_also_runs_on_the_vm() -> None:
    unit = "".join(file.read_text() for file in (ROOT / "tests" / "unit").glob("test_*.py"))
    untested = [
        code for code in raised_codes() if f'"{code}"' not in unit and f": {code}" not in unit
    ]
    # the runtime that is not running needs a simulated ESP32: tests/sim
    assert sorted(untested) in ([], ["runtime-running"])


def test_causes() -> None:
    from loader import layout, start

    rows = [row.name for row in reasons.tables()["CAUSES"].rows]
    assert {name.removesuffix(" *") for name in rows if name.endswith("*")} == set(layout.FAULTS)
    hardware = start._CAUSES.split()[1::2]
    assert set(hardware) | set(layout.FAULTS) | {"planned"} == {
        name.removesuffix(" *") for name in rows
    }


def test_host_only_fields_are_not_the_devices() -> None:
    device = {row.name for row in reasons.tables()["RELEASE_FIELDS"].rows}
    carried = set(documents.CARRIED_FIELDS.split()[::2])
    assert not device & carried


def headed(lines: list[str], index: int) -> bool:
    """Whether a comment heads the group of lines that ends at `index`."""
    while lines[index] and not lines[index].startswith("#"):
        index -= 1
    return lines[index].startswith("#")


def test_every_constant_is_documented() -> None:
    bare = []
    for file in FILES:
        lines = file.read_text().splitlines()
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.Assign):
                name = ast.unparse(node.targets[0])
                described = "  # " in lines[node.lineno - 1] or headed(lines, node.lineno - 2)
                if re.fullmatch(r"_?[A-Z][A-Z_]*", name) and not described:
                    bare.append(f"{file.name}:{node.lineno} {name}")
    assert [name for name in bare if "TYPE_CHECKING" not in name] == []


def test_the_generated_page_is_up_to_date() -> None:
    page = ROOT / reasons.PAGE
    assert page.read_text() == reasons.fill(page.read_text()), "run: make docs"
    stale = page.read_text().replace("of any signed document", "of a document")
    assert stale != reasons.fill(stale) == page.read_text()
