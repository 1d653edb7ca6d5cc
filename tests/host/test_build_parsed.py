"""A source's tree is walked once, and the answers are those of a walk."""

import ast
from pathlib import Path

import pytest
from outpost.build.edits import Edit
from outpost.build.parsed import Module, below, parse
from outpost.errors import OutpostError

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "firmware" / "node" / "core").glob("*.py"))


@pytest.mark.parametrize("path", SOURCES[:12], ids=lambda path: path.stem)
def test_every_node_that_a_walk_meets_is_kept_by_its_kind(path: Path) -> None:
    found = Module.of_source(path.read_text())
    walked = [node for node in ast.walk(found.tree) if not isinstance(node, ast.expr_context)]
    kept = [node for kind, nodes in found.kinds.items() for node in nodes if kind is type(node)]
    kept = [node for node in kept if not isinstance(node, ast.expr_context)]
    assert len(walked) > 10 and {id(node) for node in kept} == {id(node) for node in walked}


def test_outer_nodes_come_before_inner_ones() -> None:
    tree = ast.parse("def f():\n    def g():\n        pass\n\n\ndef h():\n    pass")
    names = [node.name for node in below(tree) if isinstance(node, ast.FunctionDef)]
    assert names == ["f", "h", "g"]


def test_what_strings_name() -> None:
    found = Module.of_source('"""Prose."""\nx = getattr(y, "total sum")\n"more prose"')
    assert found.words == {"total", "sum"}


def test_an_edit_makes_another_module_and_none_leaves_it() -> None:
    before = parse("x = 1\ny = 2", "m.py")
    assert before.edited([]) is before
    after = before.edited([Edit(1, 0, 1, "längs"), Edit(1, 4, 1, "3")], [2])
    assert (before.source, after.source) == ("x = 1\ny = 2", "längs = 3\n")
    assert after.names == {"längs"}


def test_of_two_edits_at_one_place_the_later_counts() -> None:
    module = parse("ä = value", "m.py")
    assert module.edited([Edit(1, 5, 5, "a"), Edit(1, 5, 5, "b")]).source == "ä = b"


def test_a_source_is_parsed_once_and_a_mistake_has_its_path() -> None:
    assert parse("z = 26", "a.py") is parse("z = 26", "b.py")
    for path in ("a.py", "b.py"):
        with pytest.raises(OutpostError) as caught:
            parse("x = 1\ny = = 2", path)
        assert caught.value.message.startswith(f"{path} does not compile: line 2")
