"""Which modules of a program can meet in one object, and which names cannot tell whose they are.

Two names may become one when no object, class or module ever has both. Names that stand in
different modules are apart, unless a class of one module derives from a class of the other, or an
attribute is put on an object from outside (`node.sampler = ...`), which may be any object.
"""

import ast
from collections.abc import Iterator

from outpost.build.parsed import Module


def families(modules: dict[str, Module]) -> dict[str, str]:
    """{path: the first path of its family}: modules whose classes derive from each other's."""
    head = {path: path for path in modules}
    for one, other in _derived(modules):
        old, new = sorted((head[one], head[other]), reverse=True)
        head = {path: new if value == old else value for path, value in head.items()}
    return head


def relatives(modules: dict[str, Module]) -> set[str]:
    """Modules with a class that derives from another module's, and those other modules."""
    return {path for pair in _derived(modules) for path in pair}


def _derived(modules: dict[str, Module]) -> Iterator[tuple[str, str]]:
    homes: dict[str, set[str]] = {}
    for path, module in modules.items():
        for node in module.of(ast.ClassDef):
            homes.setdefault(node.name, set()).add(path)
    for path, module in modules.items():
        for base in (base for node in module.of(ast.ClassDef) for base in node.bases):
            for parent in homes.get(last_name(base), {path}):
                if parent != path:
                    yield path, parent


def last_name(node: ast.expr) -> str:
    """`Base` of `Base` and of `module.Base`; nothing of what is no plain name."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def is_self(node: ast.expr) -> bool:
    """The object of a method itself."""
    return isinstance(node, ast.Name) and node.id == "self"


def put_from_outside(modules: dict[str, Module]) -> set[str]:
    """Attributes that somebody sets on an object that is not his own."""
    return {
        node.attr
        for module in modules.values()
        for node in module.of(ast.Attribute)
        if not isinstance(node.ctx, ast.Load) and not is_self(node.value)
    }
