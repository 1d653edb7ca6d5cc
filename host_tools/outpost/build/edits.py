"""Changes to a source text at places that its syntax tree names; all lines stay where they are."""

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Edit:
    """Replace `length` bytes at `column` of `line` (from 1); the syntax tree counts bytes, too."""

    line: int
    column: int
    length: int
    text: str


def apply(source: str, edits: Iterable[Edit], blank: Iterable[int] = ()) -> str:
    """`source` with the edits made and the lines of `blank` emptied."""
    lines = source.split("\n")
    empty = set(blank)
    chosen = {(edit.line, edit.column): edit for edit in edits if edit.line not in empty}
    for edit in sorted(chosen.values(), key=lambda e: (e.line, e.column), reverse=True):
        text = lines[edit.line - 1].encode()
        text = text[: edit.column] + edit.text.encode() + text[edit.column + edit.length :]
        lines[edit.line - 1] = text.decode()
    return "\n".join("" if n in empty else line for n, line in enumerate(lines, 1))


def lines_of(node: ast.AST) -> Iterator[int]:
    """The lines of a statement, those of its decorators included."""
    first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])  # type: ignore[attr-defined]
    return iter(range(first, (node.end_lineno or first) + 1))  # type: ignore[attr-defined]


def replace_node(node: ast.expr, text: str) -> Edit:
    """An edit for an expression on one line."""
    assert node.lineno == node.end_lineno and node.end_col_offset is not None
    return Edit(node.lineno, node.col_offset, node.end_col_offset - node.col_offset, text)


def words_of_strings(tree: ast.Module) -> Iterator[str]:
    """What getattr and the like may ask for; docstrings ask for nothing."""
    prose = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and id(node) not in prose and type(node.value) is str:
            yield from node.value.split()


def words_of_files(folder: Path) -> frozenset[str]:
    """Every name in the Python files of a folder."""
    trees = [ast.parse(file.read_text()) for file in folder.glob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    found = {word for tree in trees for word in words_of_strings(tree)}
    found.update(node.attr for node in nodes if isinstance(node, ast.Attribute))
    found.update(node.id for node in nodes if isinstance(node, ast.Name))
    found.update(node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef))
    return frozenset(found)


def words_of_text(text: str) -> frozenset[str]:
    """Everything in a text that could be a name."""
    return frozenset(re.findall(r"[A-Za-z_][A-Za-z0-9_]*", text))
