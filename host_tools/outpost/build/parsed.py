"""A Python source with its syntax tree, walked once for all who ask what stands in it.

The passes over a program (`outpost.build.shrink`) have some thirty questions to each of a hundred
modules, and a walk costs as much as the parsing. So nodes are kept by kind, and what several
passes ask for is found once.

Invariants: nobody changes a tree. A changed source is another Module; one that stays is the same.
Sources as people wrote them are remembered, the last few hundred of them: those of a program are
read to find what it imports, to shrink it, and to see what it asks of the loader.
"""

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TypeVar, cast

from outpost.build.edits import Edit, apply
from outpost.errors import OutpostError

Function = ast.FunctionDef | ast.AsyncFunctionDef
N = TypeVar("N", bound=ast.AST)

# The firmware has 150 sources; whoever builds again has changed one or two of them.
_REMEMBERED = 256
_LEAVES = (ast.Name, ast.Constant)  # half of all nodes; below a Name is its context only


@dataclass(frozen=True, eq=False)
class Module:
    """One source; `of` gives the nodes of a kind, outer ones before those inside them."""

    source: str
    tree: ast.Module
    kinds: dict[type[ast.AST], list[ast.AST]]

    @classmethod
    def of_source(cls, source: str) -> "Module":
        """Raises SyntaxError."""
        tree = ast.parse(source)
        kinds: dict[type[ast.AST], list[ast.AST]] = {}
        for node in below(tree):
            kinds.setdefault(type(node), []).append(node)
        return cls(source, tree, kinds)

    def edited(self, edits: Iterable[Edit], blank: Iterable[int] = ()) -> "Module":
        """The module with edits made and lines emptied."""
        source = apply(self.source, edits, blank)
        return self if source == self.source else Module.of_source(source)

    def of(self, kind: type[N]) -> list[N]:
        """The nodes of just this class."""
        return cast(list[N], self.kinds.get(kind, []))

    @cached_property
    def functions(self) -> list[Function]:
        return [*self.of(ast.FunctionDef), *self.of(ast.AsyncFunctionDef)]

    @cached_property
    def definitions(self) -> list[Function | ast.ClassDef]:
        return [*self.functions, *self.of(ast.ClassDef)]

    @cached_property
    def declarations(self) -> list[ast.Global | ast.Nonlocal]:
        return [*self.of(ast.Global), *self.of(ast.Nonlocal)]

    @cached_property
    def names(self) -> frozenset[str]:
        """Identifiers of expressions, parameters, definitions and imports."""
        found = {node.id for node in self.of(ast.Name)}
        found.update(node.attr for node in self.of(ast.Attribute))
        found.update(node.arg for node in self.of(ast.arg))
        found.update(node.name for node in self.definitions)
        found.update(part for node in self.of(ast.alias) for part in node.name.split("."))
        return frozenset(found)

    @cached_property
    def keywords(self) -> frozenset[str]:
        """Names that calls give."""
        return frozenset(node.arg for node in self.of(ast.keyword) if node.arg)

    @cached_property
    def strings(self) -> list[ast.Constant]:
        """Strings, except those that stand alone: docstrings."""
        prose = {id(node.value) for node in self.of(ast.Expr)}
        constants = self.of(ast.Constant)
        return [n for n in constants if type(n.value) is str and id(n) not in prose]

    @cached_property
    def words(self) -> frozenset[str]:
        """What getattr and the like may ask for; docstrings ask for nothing."""
        return frozenset(word for node in self.strings for word in cast(str, node.value).split())


def parse(source: str, path: str) -> Module:
    """A source as somebody wrote it; OutpostError("compile") names `path` when it is wrong."""
    try:
        return _remembered(source)
    except SyntaxError as error:
        message = f"{path} does not compile: line {error.lineno}: {error.msg}"
        raise OutpostError("compile", message, f"correct {path}") from None


_remembered = lru_cache(_REMEMBERED)(Module.of_source)


def parse_all(sources: dict[str, str]) -> dict[str, Module]:
    """{path: module} for {path: source}."""
    return {path: parse(source, path) for path, source in sources.items()}


def below(top: ast.AST) -> list[ast.AST]:
    """A node and all that are in it, without contexts of names; outer ones first."""
    found = [top]
    for node in found:  # which grows meanwhile
        if not isinstance(node, _LEAVES):
            found.extend(inside(node))
    return found


def inside(node: ast.AST, without: tuple[str, ...] = ()) -> list[ast.AST]:
    """The nodes right below one, except those in some of its fields."""
    found: list[ast.AST] = []
    for field in node._fields:
        value = getattr(node, field)
        if isinstance(value, ast.AST):
            if field not in without:
                found.append(value)
        elif isinstance(value, list):
            found += [item for item in value if isinstance(item, ast.AST)]
    return found


def words_of_files(folder: Path) -> frozenset[str]:
    """Every name in the Python files of a folder."""
    return frozenset(word for file in sorted(folder.glob("*.py")) for word in _words_of(file))


def _words_of(file: Path) -> Iterator[str]:
    found = parse(file.read_text(), file.name)
    yield from found.words
    yield from (node.attr for node in found.of(ast.Attribute))
    yield from (node.id for node in found.of(ast.Name))
    yield from (node.name for node in found.definitions)
