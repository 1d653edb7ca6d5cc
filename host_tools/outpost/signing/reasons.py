"""The device's reason codes, field tables and limits, read from the loader's own sources.

Owns no text: what `outpost verify` says and what docs/reference/formats.md lists is what stands
beside the code that refuses. `fill` makes the generated parts of that page.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from loader import layout

from . import documents

PAGE = "docs/reference/formats.md"

_ROW = re.compile(r"^    (\S+(?: \*)?)\s+(.*)$")


@dataclass(frozen=True)
class Row:
    """One line of a table: a field (with its type), a cause or a reason."""

    name: str
    text: str
    kind: str = ""


@dataclass(frozen=True)
class Table:
    """One `NAME: title::` block of the docstring."""

    name: str
    title: str
    rows: tuple[Row, ...]


def _row(line: str, typed: bool) -> Row:
    found = _ROW.match(line)
    if found is None:
        raise ValueError(f"not a row of a table: {line!r}")
    name, text = found.groups()
    if not typed:
        return Row(name, text)
    kind, _, text = text.partition(" ")
    return Row(name, text.strip(), kind)


def tables() -> dict[str, Table]:
    """All tables of the docstring, by name."""
    found = {}
    for block in re.finditer(r"^([A-Z_]+): (.*)::\n\n((?:    .*\n)+)", layout.__doc__ or "", re.M):
        name, title, body = block.groups()
        lines: list[str] = []
        for line in body.splitlines():
            if line.startswith(" " * 20):  # goes on where the text of the line above ended
                lines[-1] += " " + line.strip()
            else:
                lines.append(line)
        rows = tuple(_row(line, name.endswith("_FIELDS")) for line in lines)
        found[name] = Table(name, title, rows)
    return found


def reason(code: str) -> str:
    """What a reason code means, in the words of the device's own source."""
    texts = {row.name: row.text for row in tables()["REASONS"].rows}
    return texts.get(code, "unknown reason")


def limits() -> Iterator[tuple[str, str, str]]:
    """(module.name, value, text) of every documented constant of the loader."""
    for file in sorted(Path(layout.__file__).parent.glob("*.py")):
        lines = file.read_text().splitlines()
        for node in ast.parse(file.read_text()).body:
            _, _, comment = lines[node.lineno - 1].partition("  # ")
            if isinstance(node, ast.Assign) and comment:
                value = node.value
                if isinstance(value, ast.Call):  # const(...)
                    value = value.args[0]
                yield f"{file.stem}.{ast.unparse(node.targets[0])}", ast.unparse(value), comment


def _carried() -> Iterator[Row]:
    source = Path(documents.__file__).read_text()
    for name, kind, text in re.findall(r'^    "(\w+) (\w+) "  # (.*)$', source, re.M):
        yield Row(name, text, kind)


def _markdown(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def _table(table: Table) -> str:
    typed = table.name.endswith("_FIELDS")
    head = ("field", "type", "meaning") if typed else (table.name.lower()[:-1], "meaning")
    rows = (
        (f"`{row.name}`", row.kind, row.text) if typed else (f"`{row.name}`", row.text)
        for row in table.rows
    )
    return _markdown(head, rows)


def parts() -> dict[str, str]:
    """The generated parts of the page, by the name in their markers."""
    made = {name: _table(table) for name, table in tables().items()}
    made["CARRIED_FIELDS"] = _markdown(
        ("field", "type", "meaning"), ((f"`{row.name}`", row.kind, row.text) for row in _carried())
    )
    made["CONSTANTS"] = _markdown(
        ("constant", "value", "meaning"),
        ((f"`{name}`", f"`{value}`", text) for name, value, text in limits()),
    )
    return made


def fill(page: str) -> str:
    """The page with every generated part made anew; each has its place, once."""
    for name, text in parts().items():
        begin, end = f"<!-- {name}: generated -->", f"<!-- /{name} -->"
        if page.count(begin) != 1 or page.count(end) != 1:
            raise ValueError(f"{PAGE} needs the markers {begin} and {end} once each")
        before, _, rest = page.partition(begin)
        page = f"{before}{begin}\n{text}{end}{rest.partition(end)[2]}"
    return page
