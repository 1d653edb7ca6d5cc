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
from outpost.build.edits import Edit, apply, lines_of
from outpost.build.inline import inline, is_const
from outpost.build.parsed import Module, below, inside, parse, parse_all
from outpost.build.prune import prune

_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_GUARD = "TYPE_CHECKING"
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_BINDING = (ast.ExceptHandler, ast.Global, ast.Nonlocal, ast.alias, *_DEFINITIONS)
_NOT_COMPILED = ("annotation", "returns")


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
    modules = parse_all(sources)
    if asked is None:
        asked = frozenset(n for path in entries & set(modules) for n in modules[path].names)
    return _renamed(inline(prune(modules, theirs, entries), entries), theirs | asked, None)


def shrink_loader(sources: dict[str, str], application: Iterable[str]) -> dict[str, str]:
    """The loader: the names that it gives the application (sources, too) stay.

    Its public names are what releases of many years rely on; only names.toml says which are not.
    """
    others = [parse(source, "the application") for source in application]
    kept = frozenset(name for module in others for name in _asked_of_others(module))
    return _renamed(parse_all(sources), kept, names.table("loader"))


def _asked_of_others(module: Module) -> Iterator[str]:
    yield from module.words
    yield from module.keywords
    yield from (node.attr for node in module.of(ast.Attribute))
    yield from (node.name for node in module.of(ast.alias))


def _renamed(
    modules: dict[str, Module], kept: frozenset[str], pairs: dict[str, str] | None
) -> dict[str, str]:
    public = names.usable(modules, kept, pairs)
    modules = {path: m.edited(names.edits(m, public)) for path, m in modules.items()}
    private = _Private.of(modules, kept if pairs is not None else frozenset())
    return {path: private.applied(m) for path, m in modules.items()}


@dataclass(frozen=True)
class _Private:
    """What is renamed in one module at a time."""

    kept: frozenset[str]
    spare: tuple[str, ...]
    """Names of the ROM that no object can have got from somewhere else."""

    @classmethod
    def of(cls, modules: dict[str, Module], theirs: frozenset[str]) -> "_Private":
        outside = kin.put_from_outside(modules)
        spare = tuple(name for name in names.spare() if name not in outside)
        return cls(_shared_names(modules) | theirs, spare)

    def applied(self, module: Module) -> str:
        blank = [*_type_checking_lines(module.tree), *_const_import_lines(module)]
        taken = module.names | self.kept
        free = [name for name in self.spare if name not in taken]
        private = _private_map(module, taken, self.kept, free)
        used = set(private.values())
        left = [name for name in free if name not in used]
        edits = [*_name_edits(module, private), *_parameter_edits(module, self.kept, left)]
        return apply(module.source, edits, blank)


# --- which names


def is_private(name: str) -> bool:
    """One underscore in front, and something behind it."""
    return name[:1] == "_" and name[:2] != "__" and len(name) > 1


def _shared_names(modules: dict[str, Module]) -> frozenset[str]:
    """Names that must stay: given by keyword, written in strings, or used beyond their module."""
    kept: set[str] = set()
    relatives = kin.relatives(modules)
    for path, module in modules.items():
        defined = _defined(module)
        kept |= module.words | module.keywords
        kept.update(defined if path in relatives else ())
        for alias in module.of(ast.alias):
            kept |= {alias.asname or alias.name, alias.name}
        kept.update(
            node.attr
            for node in module.of(ast.Attribute)
            if is_private(node.attr) and (node.attr not in defined or not kin.is_self(node.value))
        )
    return frozenset(kept)


def _defined(module: Module) -> set[str]:
    """Private names that this module itself gives a meaning to."""
    found = {node.name for node in module.definitions}
    found |= {n.attr for n in module.of(ast.Attribute) if isinstance(n.ctx, ast.Store)}
    found |= {n.id for n in module.of(ast.Name) if isinstance(n.ctx, ast.Store)}
    return {name for name in found if is_private(name)}


def _private_map(
    module: Module, taken: frozenset[str], kept: frozenset[str], spare: Sequence[str]
) -> dict[str, str]:
    """New names in the order of first appearance, so that a later addition renames nothing.

    A constant keeps its underscore, by which the compiler knows that it may drop it.
    """
    wanted = _defined(module) - kept
    constants = set(_constants(module))
    fresh = (name for name in _short_names("_") if name not in taken)
    free = iter(spare)
    found: dict[str, str] = {}
    for name in _in_order(module, wanted):
        if name not in found:
            found[name] = next(fresh) if name in constants else next(free, "") or next(fresh)
    return found


def _constants(module: Module) -> Iterator[str]:
    for node in module.of(ast.Assign):
        if is_const(node.value):
            yield from (target.id for target in node.targets if isinstance(target, ast.Name))


def _in_order(module: Module, wanted: set[str]) -> Iterator[str]:
    rows = [(n.lineno, n.col_offset, n.name) for n in module.definitions if n.name in wanted]
    rows += [
        (n.lineno, n.col_offset, n.attr) for n in module.of(ast.Attribute) if n.attr in wanted
    ]
    rows += [(n.lineno, n.col_offset, n.id) for n in module.of(ast.Name) if n.id in wanted]
    return (name for _, _, name in sorted(rows))


def _short_names(start: str) -> Iterator[str]:
    for letter in _LETTERS:
        yield start + letter
    for letter in _LETTERS:
        for digit in "0123456789":
            yield start + letter + digit


# --- where they stand


def _name_edits(module: Module, new: dict[str, str]) -> Iterator[Edit]:
    yield from names.renamed(module, new)
    lines = module.source.split("\n")
    for node in module.declarations:
        if not new.keys().isdisjoint(node.names):
            text = lines[node.lineno - 1][node.col_offset :]
            row = text.split(" ", 1)[0] + " " + ", ".join(new.get(n, n) for n in node.names)
            yield Edit(node.lineno, node.col_offset, len(text.encode()), row)


def _parameter_edits(module: Module, kept: frozenset[str], spare: Sequence[str]) -> Iterator[Edit]:
    """Parameters by their place; an inner function counts on from the outer one."""
    strange = frozenset(name for kind in _BINDING for n in module.of(kind) for name in _bound(n))
    parameters = _Parameters(spare, kept, strange)
    yield from parameters.uses([module.tree], {})


@dataclass(frozen=True)
class _Parameters:
    """Renames the parameters of functions, and what their bodies make of them."""

    spare: Sequence[str]
    kept: frozenset[str]
    strange: frozenset[str]
    """Names that some statement of the module binds where no ast.Name stands."""

    def of_function(self, node: ast.AST, outer: dict[str, str]) -> Iterator[Edit]:
        assert isinstance(node, _FUNCTIONS)
        yield from self.uses([*node.args.defaults, *getattr(node, "decorator_list", [])], outer)
        arguments = node.args.args
        mine = {argument.arg for argument in arguments}
        mine |= {a.arg for a in (node.args.vararg, node.args.kwarg) if a}
        names = {old: new for old, new in outer.items() if old not in mine}
        body: list[ast.AST] = [*node.body] if isinstance(node.body, list) else [node.body]
        strange = set() if self.strange.isdisjoint(mine) else _names_bound_in(body)
        first = max((self.spare.index(new) + 1 for new in outer.values()), default=0)
        for place, argument in enumerate(arguments, first):
            name = argument.arg
            free = place < len(self.spare) and name not in strange
            if name != "self" and name not in self.kept and free:
                names[name] = self.spare[place]
                yield Edit(argument.lineno, argument.col_offset, len(name), names[name])
        yield from self.uses(body, names)

    def uses(self, waiting: list[ast.AST], names: dict[str, str]) -> Iterator[Edit]:
        for node in waiting:  # which grows meanwhile
            if isinstance(node, _FUNCTIONS):
                yield from self.of_function(node, names)
            elif not isinstance(node, ast.Name):
                waiting += inside(node, _NOT_COMPILED)
            elif node.id in names:
                yield Edit(node.lineno, node.col_offset, len(node.id), names[node.id])


def _names_bound_in(body: list[ast.AST]) -> set[str]:
    return {name for statement in body for node in below(statement) for name in _bound(node)}


def _bound(node: ast.AST) -> Iterator[str]:
    """Names bound by import, except, global or def: they stand where no ast.Name does."""
    if isinstance(node, ast.ExceptHandler) and node.name:
        yield node.name
    elif isinstance(node, ast.Global | ast.Nonlocal):
        yield from node.names
    elif isinstance(node, ast.alias):
        yield (node.asname or node.name).split(".")[0]
    elif isinstance(node, _DEFINITIONS):
        yield node.name


# --- what is left out


def _type_checking_lines(tree: ast.Module) -> Iterator[int]:
    for node in tree.body:
        guard = isinstance(node, ast.If) and _is_guard(node.test) and not node.orelse
        if guard or isinstance(node, ast.Assign) and _is_guard(node.targets[0]):
            yield from lines_of(node)


def _is_guard(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == _GUARD


def _const_import_lines(module: Module) -> Iterator[int]:
    """`from micropython import const` on its own, where the compiler folds every use of it."""
    folded = {
        id(node.value.func)
        for node in module.of(ast.Assign)
        if isinstance(node.value, ast.Call)
        and len(node.targets) == 1
        and isinstance(node.targets[0], ast.Name)
    }
    if all(id(name) in folded for name in module.of(ast.Name) if name.id == "const"):
        for node in module.tree.body:
            if isinstance(node, ast.ImportFrom) and _imports_const(node):
                yield from lines_of(node)


def _imports_const(node: ast.ImportFrom) -> bool:
    names = [(alias.name, alias.asname) for alias in node.names]
    return node.module == "micropython" and names == [("const", None)]
