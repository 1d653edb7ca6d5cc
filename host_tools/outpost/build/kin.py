"""Which modules of a program can meet in one object, and which names cannot tell whose they are.

Two names may become one when no object, class or module ever has both. Names that stand in
different modules are apart, unless a class of one module derives from a class of the other, or an
attribute is put on an object from outside (`node.sampler = ...`), which may be any object.
"""

import ast
from collections.abc import Iterator

EVERYWHERE = "*"


def families(trees: dict[str, ast.Module]) -> dict[str, str]:
    """{path: the first path of its family}: modules whose classes derive from each other's."""
    head = {path: path for path in trees}
    for one, other in _derived(trees):
        old, new = sorted((head[one], head[other]), reverse=True)
        head = {path: new if value == old else value for path, value in head.items()}
    return head


def relatives(trees: dict[str, ast.Module]) -> set[str]:
    """Modules with a class that derives from another module's, and those other modules."""
    return {path for pair in _derived(trees) for path in pair}


def _derived(trees: dict[str, ast.Module]) -> Iterator[tuple[str, str]]:
    homes: dict[str, set[str]] = {}
    for path, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                homes.setdefault(node.name, set()).add(path)
    for path, tree in trees.items():
        for node in ast.walk(tree):
            for base in node.bases if isinstance(node, ast.ClassDef) else ():
                for parent in homes.get(ast.unparse(base).split(".")[-1], {path}):
                    if parent != path:
                        yield path, parent


def is_self(node: ast.expr) -> bool:
    """The object of a method itself."""
    return isinstance(node, ast.Name) and node.id == "self"


def put_from_outside(trees: dict[str, ast.Module]) -> set[str]:
    """Attributes that somebody sets on an object that is not his own."""
    return {
        node.attr
        for tree in trees.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and not isinstance(node.ctx, ast.Load)
        and not is_self(node.value)
    }
