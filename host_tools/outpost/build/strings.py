"""Short texts of modules on loan, written so that they are forgotten with their module.

MicroPython interns every string literal of ten bytes or less (py/parse.c,
MICROPY_ALLOC_PARSE_INTERN_STRING_LEN): it stays in the heap for ever, with a row in the tables of
names. A longer literal belongs to its module. So the short ones of a module that is loaded for an
occasion become places in one long one: `"low_mv"` is `_text[40:46]`, made when it is wanted.

Invariant: values and lines stay; the long text takes the line of the module's docstring.
"""

import ast
from collections.abc import Iterable, Iterator

from outpost.build import names
from outpost.build.edits import Edit, apply, lines_of, replace_node

_INTERNED_BYTES = 10

# Loaded for an occasion in powered mode (`node/hal/modules.py`), or for the start (the loader's).
# To be missing here costs a few names. What a wipe loads is missing (parts/farewell, core/csr and
# core/p256, the loader's trust): it needs its memory in pieces that a heap hardly has by then.
ON_LOAN = (
    "loader/choose",
    "loader/slots",
    "node/parts/basis",
    "node/parts/begin",
    "node/parts/check",
    "node/parts/online",
    "node/parts/papers",
    "node/parts/probes",
    "node/parts/senses",
    "node/parts/settings",
    "node/parts/wire",
    "node/hal/board",
    "node/hal/tls_context",
    "node/hal/tls_codes",
    "node/core/certificate",
    "node/core/check",
    "node/core/conditions",
    "node/core/config",
    "node/core/desired",
    "node/core/errand",
    "node/core/fetch",
    "node/core/filetable",
    "node/core/http",
    "node/core/mqtt/inbound",
    "node/core/url",
    "node/core/update",
    "node/core/wifi",
    "node/tasks/download",
    "node/tasks/health",
    "node/tasks/identity",
    "node/tasks/stations",
)


def loosened(sources: dict[str, str]) -> dict[str, str]:
    """{path: source} for {path: source} of one program, its names as they will be."""
    trees = {path: ast.parse(source, path) for path, source in sources.items()}
    stays = {word for tree in trees.values() for word in _identifiers(tree)} | names.texts()
    for path, tree in trees.items():
        if not on_loan(path):
            stays.update(value for _, value in _short(tree))
    return {
        path: _loosened(source, trees[path], stays) if on_loan(path) else source
        for path, source in sources.items()
    }


def on_loan(path: str) -> bool:
    """Whether a module is loaded for an occasion."""
    return any(
        path.startswith(row) if row.endswith("/") else path == row + ".py" for row in ON_LOAN
    )


def _loosened(source: str, tree: ast.Module, stays: set[str]) -> str:
    found = [(node, value) for node, value in _short(tree) if value not in stays]
    text = "".join(dict.fromkeys(value for _, value in found))
    if not ast.get_docstring(tree) or len(text) <= _INTERNED_BYTES:
        return source
    taken = {word for node in ast.walk(tree) for word in names.names_of(node)}
    name = next(name for name in names.spare() if name not in taken)
    head, *rest = lines_of(tree.body[0])
    length = len(source.split("\n")[head - 1].encode())
    edits = [Edit(head, 0, length, f"{name} = {text!r}")]
    for node, value in found:
        at = text.index(value)
        edits.append(replace_node(node, f"{name}[{at}:{at + len(value)}]"))
    return apply(source, edits, rest)


def _identifiers(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Name):
            yield from names.names_of(node)
        if isinstance(node, ast.keyword) and node.arg:
            yield node.arg


def _short(tree: ast.Module) -> Iterator[tuple[ast.expr, str]]:
    """String literals that are interned, each on one line and of one piece; and their values."""
    strange = {id(node) for node in _not_evaluated(tree)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and id(node) not in strange:
            value = node.value
            if isinstance(value, str) and 0 < len(value) <= _INTERNED_BYTES and value.isascii():
                size = (node.end_col_offset or 0) - node.col_offset
                if node.lineno == node.end_lineno and size == len(value) + 2:
                    yield node, value


def _not_evaluated(tree: ast.Module) -> Iterator[ast.AST]:
    """Docstrings and annotations; and what the compiler reads (const), and parts of f-strings."""
    for node in ast.walk(tree):
        parts: Iterable[ast.AST | None] = ()
        if isinstance(node, ast.Expr):
            parts = (node.value,) if isinstance(node.value, ast.Constant) else ()
        elif isinstance(node, ast.JoinedStr):
            parts = (node,)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "const":
            parts = node.args
        else:
            parts = (getattr(node, "annotation", None), getattr(node, "returns", None))
        for part in parts:
            yield from ast.walk(part) if part is not None else ()
