"""Leaves out functions and methods that nothing in a release refers to.

Invariant: whatever is named anywhere in the release, as a name, an attribute, an import or a word
in a string, stays; so do special methods, and everything in modules that others use from outside
(`entries`). Lines stay where they are.
"""

import ast
from collections.abc import Iterator

from outpost.build.edits import lines_of
from outpost.build.parsed import Function, Module

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def prune(
    modules: dict[str, Module], theirs: frozenset[str], entries: frozenset[str]
) -> dict[str, Module]:
    """{path: module} without what is not used; again and again, as callers go before callees.

    `theirs` are names that a program beside this one uses.
    """
    while True:
        used = theirs.union(*(_used(module) for module in modules.values()))
        lines = {
            path: [line for node in _functions(module, used) for line in lines_of(node)]
            for path, module in modules.items()
            if path not in entries
        }
        if not any(lines.values()):
            return modules
        modules = {path: m.edited([], lines.get(path, [])) for path, m in modules.items()}


def _functions(module: Module, used: frozenset[str]) -> Iterator[Function]:
    """Unused functions of modules and methods of classes, where something else is beside them."""
    owners: list[ast.Module | ast.ClassDef] = [module.tree, *module.of(ast.ClassDef)]
    for owner in owners:
        functions = [node for node in owner.body if isinstance(node, _FUNCTIONS)]
        found = [n for n in functions if n.name not in used and not n.name.startswith("__")]
        yield from found if len(found) < len(owner.body) else found[1:]


def _used(module: Module) -> set[str]:
    found = {node.attr for node in module.of(ast.Attribute)}
    found.update(node.id for node in module.of(ast.Name) if isinstance(node.ctx, ast.Load))
    found.update(node.name.split(".")[-1] for node in module.of(ast.alias))
    return found | module.keywords | module.words
