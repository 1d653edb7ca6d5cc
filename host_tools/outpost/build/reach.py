"""Which modules of the application a release needs: those its entry points reach by import.

Owns the walk over import statements (AST; nothing is executed). What nobody imports is not
shipped, so a driver that product.toml does not name costs a device no flash and no download.
Imports under `if TYPE_CHECKING:` do not count.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

from outpost.build.edits import lines_of
from outpost.build.parsed import parse
from outpost.errors import OutpostError

# Reached without an import statement: the loader imports the entry, the factory's scripts the rest
# over the raw REPL.
ENTRY_POINTS = (
    "node.main",
    "node.tasks.identity",
    "node.hal.storage",
    "node.hal.board",
    "node.parts.selftest",
)


class Tree:
    """Python sources below folders; a later folder replaces files of an earlier one."""

    def __init__(self) -> None:
        self.files: dict[str, Path] = {}

    def add(self, folder: Path, below: str = "") -> None:
        """Every .py file of `folder`, named relative to it, with `below/` in front."""
        for path in sorted(folder.rglob("*.py")):
            if "__pycache__" not in path.parts:
                name = path.relative_to(folder).as_posix()
                self.files[f"{below}/{name}" if below else name] = path

    def file_of(self, module: str) -> str | None:
        """The file that defines a dotted module name, or None when it is not one of ours."""
        stem = module.replace(".", "/")
        for name in (f"{stem}.py", f"{stem}/__init__.py"):
            if name in self.files:
                return name
        return None


def reachable(
    tree: Tree, modules: list[str], package: str = "node", without: frozenset[str] = frozenset()
) -> dict[str, Path]:
    """The files of `package` that executing `modules` may import, and their packages.

    `without` are modules that this product's configuration never asks for, although the code that
    could ask is there: they are left out, and so is what only they import.
    """
    waiting = list(modules)
    found: dict[str, Path] = {}
    seen: set[str] = set(without)
    while waiting:
        module = waiting.pop()
        if module in seen or module.split(".")[0] != package:
            continue
        seen.add(module)
        name = tree.file_of(module)
        if name is None:
            continue
        found[name] = tree.files[name]
        waiting.extend(_parents(module))
        waiting.extend(_imports(tree.files[name], module, name.endswith("/__init__.py")))
    # MicroPython takes a folder without __init__ for an empty package (py/builtinimport.c): one
    # that holds a docstring only would cost each slot a block, and heap.
    found = {name: path for name, path in found.items() if not _is_empty_package(path)}
    for module in modules:
        if tree.file_of(module) is None:
            message = f"the application has no module {module}"
            raise OutpostError("module-missing", message, "correct product.toml", exit_code=2)
    return found


def _is_empty_package(path: Path) -> bool:
    if path.name != "__init__.py":
        return False
    body = parse(path.read_text(), path.name).tree.body
    return all(
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) for node in body
    )


def _parents(module: str) -> Iterator[str]:
    while "." in module:
        module = module.rpartition(".")[0]
        yield module


def _imports(path: Path, module: str, is_package: bool) -> Iterator[str]:
    """Dotted names a file may import; `from a import b` gives both a and a.b, as b may be a
    module. A string that is the name of a module counts as well.
    """
    package = module if is_package else module.rpartition(".")[0]
    found = parse(path.read_text(), f"{module.replace('.', '/')}.py")
    guarded = {line for node in found.of(ast.If) if _is_guard(node) for line in lines_of(node)}
    for plain in found.of(ast.Import):
        if plain.lineno not in guarded:
            yield from (alias.name for alias in plain.names)
    for node in found.of(ast.ImportFrom):
        if node.lineno not in guarded:
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, base] if base else above)
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)
    for text in found.of(ast.Constant):  # loaded by name (hal.modules), when there is such a one
        if isinstance(text.value, str) and "." in text.value and text.lineno not in guarded:
            yield text.value


def _is_guard(node: ast.If) -> bool:
    return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
