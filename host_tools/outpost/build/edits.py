"""Changes to a source text at places that its syntax tree names; all lines stay where they are."""

import ast
import re
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Edit:
    """Replace `length` bytes at `column` of `line` (from 1); the syntax tree counts bytes, too."""

    line: int
    column: int
    length: int
    text: str


def apply(source: str, edits: Iterable[Edit], blank: Iterable[int] = ()) -> str:
    """`source` with the edits made and the lines of `blank` emptied.

    Of two edits at one place the later one counts.
    """
    chosen: dict[int, dict[int, Edit]] = {}
    for edit in edits:
        chosen.setdefault(edit.line, {})[edit.column] = edit
    lines = source.split("\n")
    for number, row in chosen.items():
        text = lines[number - 1].encode()
        for column in sorted(row, reverse=True):
            edit = row[column]
            text = text[:column] + edit.text.encode() + text[column + edit.length :]
        lines[number - 1] = text.decode()
    for number in blank:
        lines[number - 1] = ""
    return "\n".join(lines)


def lines_of(node: ast.stmt) -> range:
    """The lines of a statement, those of its decorators included."""
    first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
    return range(first, (node.end_lineno or first) + 1)


def replace_node(node: ast.expr, text: str) -> Edit:
    """An edit for an expression on one line."""
    assert node.lineno == node.end_lineno and node.end_col_offset is not None
    return Edit(node.lineno, node.col_offset, node.end_col_offset - node.col_offset, text)


def words_of_text(text: str) -> frozenset[str]:
    """Everything in a text that could be a name."""
    return frozenset(re.findall(r"[A-Za-z_][A-Za-z0-9_]*", text))
