"""Puts the value of a public constant where other modules name it, so that no name is left of it.

The compiler folds `const()` inside a module; across modules each constant is a row in a
dictionary, a name in the interpreter's tables, and a look-up. A constant is `NAME = const(<int>)`
at the head of a module; afterwards it is private there, and the compiler drops it.
"""

import ast
from collections.abc import Iterator

from outpost.build.edits import Edit, lines_of, replace_node
from outpost.build.parsed import Module


def inline(modules: dict[str, Module], entries: frozenset[str]) -> dict[str, Module]:
    """{path: module} with constants in place; those of `entries` keep their names."""
    known = {path: _constants(m.tree) for path, m in modules.items() if path not in entries}
    uses = {path: _Uses(module, path, known) for path, module in modules.items()}
    every = {name for values in known.values() for name in values}
    kept = {name for module in modules.values() for name in module.words}
    kept.update(name for use in uses.values() for name in use.unclear(every))
    return {
        path: module.edited(uses[path].edits(kept), uses[path].blank(kept))
        for path, module in modules.items()
    }


def _constants(tree: ast.Module) -> dict[str, int]:
    found: dict[str, int] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name, value = node.targets[0].id, _value(node.value)
            if value is not None and not name.startswith("_") and len(node.targets) == 1:
                found[name] = value
    return found


def is_const(node: ast.expr | None) -> bool:
    """`const(...)`"""
    return (
        isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "const"
    )


def _value(node: ast.expr) -> int | None:
    if not isinstance(node, ast.Call) or not is_const(node):
        return None
    try:
        value = ast.literal_eval(node.args[0])
    except ValueError:
        return None
    return value if type(value) is int and value >= 0 else None


class _Uses:
    """How one module uses constants: its own, and those of modules it imports."""

    def __init__(self, module: Module, path: str, known: dict[str, dict[str, int]]) -> None:
        self._module = module
        self._own = known.get(path, {})
        self._known = known
        self._modules: dict[str, str] = {}  # name here -> path
        self._names: dict[str, tuple[str, int]] = {}  # name here -> (its own name, value)
        self._imports: list[ast.ImportFrom] = []
        for node in module.of(ast.ImportFrom):
            if node.module:
                self._import(node, node.module.replace(".", "/"))

    def _import(self, node: ast.ImportFrom, folder: str) -> None:
        values = self._known.get(folder + ".py", {})
        for alias in node.names:
            name = alias.asname or alias.name
            if f"{folder}/{alias.name}.py" in self._known:
                self._modules[name] = f"{folder}/{alias.name}.py"
            elif alias.name in values:
                self._names[name] = (alias.name, values[alias.name])
                if node not in self._imports:
                    self._imports.append(node)

    def _of_module(self, node: ast.Attribute) -> tuple[str, int] | None:
        """(name, value) when `node` is module.NAME."""
        if isinstance(node.value, ast.Name):
            path = self._modules.get(node.value.id)
            if path is not None and node.attr in self._known.get(path, {}):
                return node.attr, self._known[path][node.attr]
        return None

    def unclear(self, every: set[str]) -> Iterator[str]:
        """Those names of `every` constant that this module reaches in a way none can follow."""
        for node in self._module.of(ast.Attribute):
            strange = self._of_module(node) is None or not isinstance(node.ctx, ast.Load)
            if strange and node.attr in every:
                yield node.attr
        names = self._module.of(ast.Name)
        stored = {name.id for name in names if not isinstance(name.ctx, ast.Load)}
        given = self._module.keywords.union(node.arg for node in self._module.of(ast.arg))
        # One that is bound here, and no constant here, is something else everywhere in here.
        yield from every & (given | (stored - set(self._own)))

    def edits(self, kept: set[str]) -> Iterator[Edit]:
        for attribute in self._module.of(ast.Attribute):
            found = self._of_module(attribute)
            if found is not None and found[0] not in kept:
                yield replace_node(attribute, str(found[1]))
        for node in self._module.of(ast.Name):
            if node.id in self._names:
                name, value = self._names[node.id]
                if name not in kept:
                    yield replace_node(node, str(value))
            elif node.id in self._own and node.id not in kept:
                yield Edit(node.lineno, node.col_offset, 0, "_")
        yield from self._import_edits(kept)

    def _import_edits(self, kept: set[str]) -> Iterator[Edit]:
        for statement in self._imports:
            left = [a for a in statement.names if not self._gone(a, kept)]
            if left and len(left) < len(statement.names):
                names = ", ".join(ast.unparse(alias) for alias in left)
                text = f"from {statement.module} import {names}"
                first = statement.end_col_offset if _one_line(statement) else None
                length = (first or 10**6) - statement.col_offset
                yield Edit(statement.lineno, statement.col_offset, length, text)

    def blank(self, kept: set[str]) -> Iterator[int]:
        """The lines of imports that are not needed any more, or were put into their first line."""
        for statement in self._imports:
            gone = [alias for alias in statement.names if self._gone(alias, kept)]
            if len(gone) == len(statement.names):
                yield from lines_of(statement)
            elif gone and not _one_line(statement):
                yield from list(lines_of(statement))[1:]

    def _gone(self, alias: ast.alias, kept: set[str]) -> bool:
        return (alias.asname or alias.name) in self._names and alias.name not in kept


def _one_line(node: ast.stmt) -> bool:
    return node.lineno == node.end_lineno
