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
from outpost.build.inline import is_const
from outpost.build.parsed import Module, below

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
    modules: dict[str, Module], kept: frozenset[str], pairs: dict[str, str] | None = None
) -> dict[str, str]:
    """The pairs that are safe in a program; `kept` are names that others rely on."""
    fixed = set(kept) | {word for path in modules for word in path.removesuffix(".py").split("/")}
    where: dict[str, set[str]] = {}
    family = kin.families(modules)
    for path, module in modules.items():
        fixed.update(_asked_for(module), _fixed_by(module))
        for name in module.names:
            where.setdefault(name, set()).add(family[path])
    for name in kin.put_from_outside(modules):
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


def _fixed_by(module: Module) -> Iterator[str]:
    """Names in places where no edit reaches them, or where they are not ours."""
    yield from module.keywords
    yield from (node.name for node in module.of(ast.ExceptHandler) if node.name)
    for scope in module.declarations:
        yield from scope.names
    for plain in module.of(ast.Import):
        for alias in plain.names:
            yield from (alias.asname or alias.name).split(".")
    for node in module.of(ast.ImportFrom):
        ours = (node.module or "").split(".")[0] == "node"
        for alias in node.names:
            yield from filter(None, (alias.asname, None if ours else alias.name))
    for assign in module.of(ast.Assign):
        yield from _private_constants(assign)
    for cls in module.of(ast.ClassDef):  # an exception's name is read in tracebacks
        if any(kin.last_name(base).endswith(("Error", "Exception")) for base in cls.bases):
            yield cls.name


def _private_constants(node: ast.Assign) -> Iterator[str]:
    """`_NAME = const(...)`: nothing is left of it as long as it begins with an underscore."""
    if is_const(node.value):
        names = [target.id for target in node.targets if isinstance(target, ast.Name)]
        yield from names if names[:1] and names[0].startswith("_") else ()


def edits(module: Module, names: dict[str, str]) -> Iterator[Edit]:
    """Where the names of a module stand, with what is to stand there."""
    yield from renamed(module, names)
    for node in module.of(ast.arg):
        if node.arg in names:
            yield Edit(node.lineno, node.col_offset, len(node.arg), names[node.arg])
    for statement in module.of(ast.ImportFrom):
        for alias in statement.names:
            if alias.name in names:
                size = len(alias.name)
                yield Edit(alias.lineno, alias.col_offset, size, names[alias.name])


def renamed(module: Module, names: dict[str, str]) -> Iterator[Edit]:
    """The names of expressions and definitions."""
    for name in module.of(ast.Name):
        if name.id in names:
            yield Edit(name.lineno, name.col_offset, len(name.id), names[name.id])
    for node in module.of(ast.Attribute):
        if node.attr in names:
            assert node.end_lineno and node.end_col_offset is not None
            column = node.end_col_offset - len(node.attr)
            yield Edit(node.end_lineno, column, len(node.attr), names[node.attr])
    lines = module.source.split("\n")
    for found in module.definitions:
        if found.name in names:
            text = lines[found.lineno - 1]  # that of `def`: decorators have lines of their own
            word = "class " if isinstance(found, ast.ClassDef) else "def "
            start = text.index(found.name, text.index(word, found.col_offset) + len(word))
            size = len(found.name)
            yield Edit(found.lineno, len(text[:start].encode()), size, names[found.name])


def _asked_for(module: Module) -> Iterator[str]:
    """Words of strings that `getattr` and the like may be given: names, or names in a row."""
    notes = {id(part) for part in _annotations(module)}
    for node in module.strings:
        words = str(node.value).split()
        if id(node) not in notes and all(word.isidentifier() for word in words):
            yield from words


def _annotations(module: Module) -> Iterator[ast.AST]:
    given = [node.annotation for node in module.of(ast.arg)]
    kept = [node.annotation for node in module.of(ast.AnnAssign)]
    for note in (*given, *kept, *(function.returns for function in module.functions)):
        if isinstance(note, ast.Constant):
            yield note
        elif note is not None:
            yield from below(note)
