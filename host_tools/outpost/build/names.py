"""Gives names of the firmware names that every chip's interpreter has in its ROM already.

MicroPython keeps each distinct name of a program in the heap for ever, with a row in tables that
double when they are full: 800 names are 15 kB, and the last table is 4.5 kB at once. The
interpreter's own names (`acosh`, `ULONGLONG`) cost nothing. So `names.toml` pairs the two, and a
build uses those pairs that are safe in it. Several names may have one name of the ROM, as a map
has few colours, where no object can have two of them (`outpost.build.kin`).

Invariants: a pair is used everywhere or nowhere in a program; neither of its names may mean
anything else there: be a word in a string, a keyword of a call, a module, a name of the loader or
of something imported from outside. Pairs never change between releases, so a module that stays as
it is compiles to the same bytes; new names are added at the end, or stay as they are.
"""

import ast
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from outpost.build import kin
from outpost.build.edits import Edit

_TABLE = Path(__file__).with_name("names.toml")


@cache
def table(part: str = "names") -> dict[str, str]:
    """{name in the sources: name in the ROM}."""
    pairs: dict[str, str] = tomllib.loads(_TABLE.read_text())[part]
    return pairs


def spare() -> tuple[str, ...]:
    """Names of the ROM in a fixed order, for what has no row in the table."""
    return tuple(dict.fromkeys(table().values()))


def usable(
    trees: dict[str, ast.Module], kept: frozenset[str], pairs: dict[str, str] | None = None
) -> dict[str, str]:
    """The pairs that are safe in a program; `kept` are names that others rely on."""
    fixed = set(kept) | {word for path in trees for word in path.removesuffix(".py").split("/")}
    where: dict[str, set[str]] = {}
    family = kin.families(trees)
    for path, tree in trees.items():
        fixed.update(asked_for(tree))
        for node in ast.walk(tree):
            for name in names_of(node):
                where.setdefault(name, set()).add(family[path])
            fixed.update(_fixed_by(node))
    for name in kin.put_from_outside(trees):
        where.setdefault(name, set()).update(family.values())
    used: dict[str, set[str]] = {}
    found: dict[str, str] = {}
    for name, alias in (table() if pairs is None else pairs).items():
        if name not in where or {name, alias} & fixed or alias in where:
            continue
        if not where[name] & used.get(alias, set()):
            found[name] = alias
            used.setdefault(alias, set()).update(where[name])
    return found


def names_of(node: ast.AST) -> Iterator[str]:
    """Identifiers that stand in a node itself."""
    if isinstance(node, ast.Name):
        yield node.id
    elif isinstance(node, ast.Attribute):
        yield node.attr
    elif isinstance(node, ast.arg):
        yield node.arg
    elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.alias):
        yield from node.name.split(".")


def _fixed_by(node: ast.AST) -> Iterator[str]:
    """Names in places where no edit reaches them, or where they are not ours."""
    if isinstance(node, ast.keyword) and node.arg:
        yield node.arg
    elif isinstance(node, ast.ExceptHandler) and node.name:
        yield node.name
    elif isinstance(node, ast.Global | ast.Nonlocal):
        yield from node.names
    elif isinstance(node, ast.Import):
        for alias in node.names:
            yield from (alias.asname or alias.name).split(".")
    elif isinstance(node, ast.ImportFrom):
        ours = (node.module or "").split(".")[0] == "node"
        for alias in node.names:
            if alias.asname:
                yield alias.asname
            if not ours:
                yield alias.name
    elif isinstance(node, ast.Assign) and _is_private_constant(node):
        yield from (target.id for target in node.targets if isinstance(target, ast.Name))
    elif isinstance(node, ast.ClassDef):
        for base in node.bases:  # an exception's name is read in tracebacks
            if ast.unparse(base).endswith(("Error", "Exception")):
                yield node.name


def _is_private_constant(node: ast.Assign) -> bool:
    """`_NAME = const(...)`: nothing is left of it as long as it begins with an underscore."""
    return (
        isinstance(node.value, ast.Call)
        and ast.unparse(node.value.func) == "const"
        and ast.unparse(node.targets[0]).startswith("_")
    )


def edits(tree: ast.Module, lines: list[str], names: dict[str, str]) -> Iterator[Edit]:
    """Where the names of a module stand, with what is to stand there."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in names:
            yield Edit(node.lineno, node.col_offset, len(node.id), names[node.id])
        elif isinstance(node, ast.Attribute) and node.attr in names:
            assert node.end_lineno and node.end_col_offset is not None
            column = node.end_col_offset - len(node.attr)
            yield Edit(node.end_lineno, column, len(node.attr), names[node.attr])
        elif isinstance(node, ast.arg) and node.arg in names:
            yield Edit(node.lineno, node.col_offset, len(node.arg), names[node.arg])
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            if node.name in names:
                line = node.lineno  # that of `def`: decorators have lines of their own
                text = lines[line - 1]
                start = text.index(node.name, text.index("class " if _is_class(node) else "def "))
                yield Edit(line, len(text[:start].encode()), len(node.name), names[node.name])
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if alias.name in names:
                    size = len(alias.name)
                    yield Edit(alias.lineno, alias.col_offset, size, names[alias.name])


def _is_class(node: ast.AST) -> bool:
    return isinstance(node, ast.ClassDef)


def asked_for(tree: ast.Module) -> Iterator[str]:
    """Words of strings that `getattr` and the like may be given: names, or names in a row."""
    prose = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr)}
    prose |= {id(part) for part in _annotations(tree)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and id(node) not in prose and type(node.value) is str:
            words = node.value.split()
            if all(word.isidentifier() for word in words):
                yield from words


def _annotations(tree: ast.Module) -> Iterator[ast.AST]:
    for node in ast.walk(tree):
        for field in ("annotation", "returns"):
            value = getattr(node, field, None)
            if value is not None:
                yield from ast.walk(value)
