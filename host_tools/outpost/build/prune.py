"""Leaves out functions and methods that nothing in a release refers to.

Invariant: whatever is named anywhere in the release, as a name, an attribute, an import or a word
in a string, stays; so do special methods, and everything in modules that others use from outside
(`entries`). Lines stay where they are.
"""

import ast
from collections.abc import Iterator

from outpost.build.edits import apply, lines_of, words_of_strings

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def prune(
    sources: dict[str, str], theirs: frozenset[str], entries: frozenset[str]
) -> dict[str, str]:
    """{path: source} without what is not used; again and again, as callers go before callees.

    `theirs` are names that a program beside this one uses.
    """
    while True:
        trees = {path: ast.parse(source, path) for path, source in sources.items()}
        used = {name for tree in trees.values() for name in _used(tree)} | theirs
        found = {
            path: [node for node in _functions(tree) if node.name not in used]
            for path, tree in trees.items()
            if path not in entries
        }
        if not any(found.values()):
            return sources
        for path, nodes in found.items():
            lines = [line for node in nodes for line in lines_of(node)]
            sources = {**sources, path: apply(sources[path], [], lines)}


def _functions(tree: ast.Module) -> "Iterator[ast.FunctionDef | ast.AsyncFunctionDef]":
    """Functions of modules and methods of classes, where something else stands beside them."""
    for owner in ast.walk(tree):
        if isinstance(owner, ast.Module | ast.ClassDef) and len(owner.body) > 1:
            for node in owner.body:
                if isinstance(node, _FUNCTIONS) and not node.name.startswith("__"):
                    yield node


def _used(tree: ast.Module) -> Iterator[str]:
    yield from words_of_strings(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            yield node.id
        elif isinstance(node, ast.alias):
            yield node.name.split(".")[-1]
        elif isinstance(node, ast.keyword) and node.arg:
            yield node.arg
