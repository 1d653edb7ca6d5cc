"""Makes sources cheaper to keep in a chip's memory, without changing a line number.

MicroPython keeps every distinct name of a program for ever: its letters, and a row in tables that
double when they are full. So what nothing refers to is left out (`outpost.build.prune`), constants
of other modules are put in place (`outpost.build.inline`), public names become such as the
interpreter has in its ROM (`outpost.build.names`). So do private names, each module for itself:
`_storage` here and `_handlers` there may both become `acosh`; and the names of parameters that no
call gives by keyword. What only a type checker or the compiler reads goes as well (`if
TYPE_CHECKING`, the import of `const`).

Invariants: the result has the same lines, so a traceback still names the right one. A module's
names depend on that module and on the set of names that others rely on, so that a change in one
module does not rename things in all of them. A name that is used across modules, that the
standard library might know, or that stands in a string (getattr), stays as it is; nothing is
taken away from modules that the factory's scripts use (`entries`).
"""

import ast
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from outpost.build import kin, names
from outpost.build.edits import Edit, apply, lines_of, words_of_strings
from outpost.build.inline import inline
from outpost.build.prune import prune

_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_GUARD = "TYPE_CHECKING"
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


def shrink(
    sources: dict[str, str],
    theirs: frozenset[str] = frozenset(),
    entries: frozenset[str] = frozenset(),
    asked: frozenset[str] | None = None,
) -> dict[str, str]:
    """{path: source} for {path: source}: one program, as all of it will run together.

    `theirs` are names of programs beside it that stay as they are (the loader); `asked` are the
    names that somebody outside uses of the modules `entries`, every one when it is not given.
    """
    trees = _parsed(sources)  # a mistake is shown where it was made
    if asked is None:
        asked = frozenset(name for path in entries & set(trees) for name in _all(trees[path]))
    return _renamed(inline(prune(sources, theirs, entries), entries), theirs | asked, None)


def shrink_loader(sources: dict[str, str], application: Iterable[str]) -> dict[str, str]:
    """The loader: the names that it gives the application (sources, too) stay.

    Its public names are what releases of many years rely on; only names.toml says which are not.
    """
    trees = [ast.parse(source) for source in application]
    kept = frozenset(name for tree in trees for name in _asked_of_others(tree))
    return _renamed(sources, kept, names.table("loader"))


def _asked_of_others(tree: ast.Module) -> Iterator[str]:
    yield from words_of_strings(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.alias):
            yield node.name
        elif isinstance(node, ast.keyword) and node.arg:
            yield node.arg


def _renamed(
    sources: dict[str, str], kept: frozenset[str], pairs: dict[str, str] | None
) -> dict[str, str]:
    trees = _parsed(sources)
    public = names.usable(trees, kept, pairs)
    done = {
        path: apply(source, names.edits(trees[path], source.split("\n"), public))
        for path, source in sources.items()
    }
    trees = _parsed(done)
    private = _Private.of(trees, kept if pairs is not None else frozenset())
    return {path: private.applied(done[path], trees[path]) for path in sources}


def _parsed(sources: dict[str, str]) -> dict[str, ast.Module]:
    return {path: ast.parse(source, path) for path, source in sources.items()}


def _all(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        yield from names.names_of(node)


@dataclass(frozen=True)
class _Private:
    """What is renamed in one module at a time."""

    kept: frozenset[str]
    spare: tuple[str, ...]
    """Names of the ROM that no object can have got from somewhere else."""

    @classmethod
    def of(cls, trees: dict[str, ast.Module], theirs: frozenset[str]) -> "_Private":
        outside = kin.put_from_outside(trees)
        spare = tuple(name for name in names.spare() if name not in outside)
        return cls(_shared_names(trees) | theirs, spare)

    def applied(self, source: str, tree: ast.Module) -> str:
        blank = {*_type_checking_lines(tree), *_const_import_lines(tree)}
        lines = source.split("\n")
        taken = {*_all(tree)} | self.kept
        free = [name for name in self.spare if name not in taken]
        private = _private_map(tree, self.kept, free)
        left = [name for name in free if name not in private.values()]
        edits = [*_name_edits(tree, lines, private), *_parameter_edits(tree, self.kept, left)]
        return apply(source, edits, blank)


# --- which names


def is_private(name: str) -> bool:
    """One underscore in front, and something behind it."""
    return name[:1] == "_" and name[:2] != "__" and len(name) > 1


def _shared_names(trees: dict[str, ast.Module]) -> frozenset[str]:
    """Names that must stay: given by keyword, written in strings, or used beyond their module."""
    kept: set[str] = set()
    relatives = kin.relatives(trees)
    for path, tree in trees.items():
        defined = _defined(tree)
        kept.update(words_of_strings(tree))
        kept.update(defined if path in relatives else ())
        for node in ast.walk(tree):
            if isinstance(node, ast.keyword) and node.arg:
                kept.add(node.arg)
            elif isinstance(node, ast.ImportFrom | ast.Import):
                kept.update(alias.asname or alias.name for alias in node.names)
                kept.update(alias.name for alias in node.names)
            elif (
                isinstance(node, ast.Attribute)
                and is_private(node.attr)
                and (node.attr not in defined or not kin.is_self(node.value))
            ):
                kept.add(node.attr)
    return frozenset(kept)


def _defined(tree: ast.Module) -> set[str]:
    """Private names that this module itself gives a meaning to."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            found.add(node.attr)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
    return {name for name in found if is_private(name)}


def _private_map(tree: ast.Module, kept: frozenset[str], spare: Sequence[str]) -> dict[str, str]:
    """New names in the order of first appearance, so that a later addition renames nothing.

    A constant keeps its underscore, by which the compiler knows that it may drop it.
    """
    taken = {*_all(tree)} | kept
    wanted = _defined(tree) - kept
    constants = set(_constants(tree))
    fresh = (name for name in _short_names("_") if name not in taken)
    free = iter(spare)
    found: dict[str, str] = {}
    for name in _in_order(tree):
        if name in wanted and name not in found:
            found[name] = next(fresh) if name in constants else next(free, "") or next(fresh)
    return found


def _constants(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        value = node.value if isinstance(node, ast.Assign) else None
        if isinstance(value, ast.Call) and ast.unparse(value.func) == "const":
            assert isinstance(node, ast.Assign)
            yield from (target.id for target in node.targets if isinstance(target, ast.Name))


def _in_order(tree: ast.Module) -> Iterator[str]:
    rows: list[tuple[int, int, str]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            rows.append((node.lineno, node.col_offset, node.name))
        elif isinstance(node, ast.Attribute):
            rows.append((node.lineno, node.col_offset, node.attr))
        elif isinstance(node, ast.Name):
            rows.append((node.lineno, node.col_offset, node.id))
    return (name for _, _, name in sorted(rows))


def _short_names(start: str) -> Iterator[str]:
    for letter in _LETTERS:
        yield start + letter
    for letter in _LETTERS:
        for digit in "0123456789":
            yield start + letter + digit


# --- where they stand


def _name_edits(tree: ast.Module, lines: list[str], names: dict[str, str]) -> Iterator[Edit]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in names:
            yield Edit(node.lineno, node.col_offset, len(node.id), names[node.id])
        elif isinstance(node, ast.Attribute) and node.attr in names:
            assert node.end_lineno and node.end_col_offset is not None
            column = node.end_col_offset - len(node.attr)
            yield Edit(node.end_lineno, column, len(node.attr), names[node.attr])
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            if node.name in names:
                text = lines[node.lineno - 1]
                column = len(text[: text.index(node.name, node.col_offset)].encode())
                yield Edit(node.lineno, column, len(node.name), names[node.name])
        elif isinstance(node, ast.Global | ast.Nonlocal) and set(node.names) & set(names):
            text = lines[node.lineno - 1][node.col_offset :]
            new = text.split(" ", 1)[0] + " " + ", ".join(names.get(n, n) for n in node.names)
            yield Edit(node.lineno, node.col_offset, len(text.encode()), new)


def _parameter_edits(
    tree: ast.Module, kept: frozenset[str], spare: Sequence[str]
) -> Iterator[Edit]:
    """Parameters by their place; an inner function counts on from the outer one."""
    for node in _outermost(tree):
        yield from _Parameters(spare, kept).of_function(node, {})


def _outermost(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, _FUNCTIONS):
            yield child
        else:
            yield from _outermost(child)


@dataclass(frozen=True)
class _Parameters:
    """Renames the parameters of functions, and what their bodies make of them."""

    spare: Sequence[str]
    kept: frozenset[str]

    def of_function(self, node: ast.AST, outer: dict[str, str]) -> Iterator[Edit]:
        assert isinstance(node, _FUNCTIONS)
        for default in [*node.args.defaults, *getattr(node, "decorator_list", [])]:
            yield from self.uses(default, outer)
        arguments = node.args.args
        mine = {argument.arg for argument in arguments}
        mine |= {a.arg for a in (node.args.vararg, node.args.kwarg) if a}
        names = {old: new for old, new in outer.items() if old not in mine}
        body: list[ast.AST] = [*node.body] if isinstance(node.body, list) else [node.body]
        strange = _names_that_are_no_expressions(body)
        first = max((self.spare.index(new) + 1 for new in outer.values()), default=0)
        for place, argument in enumerate(arguments, first):
            name = argument.arg
            free = place < len(self.spare) and name not in strange
            if name != "self" and name not in self.kept and free:
                names[name] = self.spare[place]
                yield Edit(argument.lineno, argument.col_offset, len(name), names[name])
        for statement in body:
            yield from self.uses(statement, names)

    def uses(self, node: ast.AST, names: dict[str, str]) -> Iterator[Edit]:
        if isinstance(node, _FUNCTIONS):
            yield from self.of_function(node, names)
            return
        if isinstance(node, ast.Name) and node.id in names:
            yield Edit(node.lineno, node.col_offset, len(node.id), names[node.id])
        for field, value in ast.iter_fields(node):
            if field in ("annotation", "returns"):
                continue  # not evaluated, not compiled
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from self.uses(child, names)


def _names_that_are_no_expressions(body: list[ast.AST]) -> set[str]:
    """Names bound by import, except, global or def: they stand where no ast.Name does."""
    found: set[str] = set()
    for node in (n for statement in body for n in ast.walk(statement)):
        if isinstance(node, ast.ExceptHandler) and node.name:
            found.add(node.name)
        elif isinstance(node, ast.Global | ast.Nonlocal):
            found.update(node.names)
        elif isinstance(node, ast.alias):
            found.add((node.asname or node.name).split(".")[0])
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
    return found


# --- what is left out


def _type_checking_lines(tree: ast.Module) -> Iterator[int]:
    for node in tree.body:
        guard = isinstance(node, ast.If) and isinstance(node.test, ast.Name)
        guard = guard and node.test.id == _GUARD and not node.orelse  # type: ignore[attr-defined]
        flag = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == _GUARD
        if guard or flag:
            yield from lines_of(node)


def _const_import_lines(tree: ast.Module) -> Iterator[int]:
    """`from micropython import const` on its own, where the compiler folds every use of it."""
    folded = {
        id(node.value.func)
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Call)
        and len(node.targets) == 1
        and isinstance(node.targets[0], ast.Name)
    }
    names = [n for n in ast.walk(tree) if isinstance(n, ast.Name) and n.id == "const"]
    if not all(id(name) in folded for name in names):
        return
    for node in tree.body:
        if ast.unparse(node) == "from micropython import const":
            yield from lines_of(node)
