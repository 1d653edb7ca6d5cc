"""Budgets: the loader stays small enough to trust and to fit; functions and files stay small
enough to read.

Run this file as a script for the report: python tests/host/test_budget.py
"""

from __future__ import annotations

import ast
import statistics
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOADER = ROOT / "firmware" / "loader"
LOADER_LINES = 600
LOADER_MPY_BYTES = 12 * 1024
FUNCTION_LINES = 60
FUNCTION_MEDIAN_LINES = 10
FILE_LINES = 400
PARAMETERS = 5


def code_lines(source: str) -> int:
    """Lines that are neither blank, nor comment, nor docstring."""
    kept = {
        n
        for n, x in enumerate(source.splitlines(), 1)
        if x.strip() and not x.strip().startswith("#")
    }
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            kept -= set(_docstring_lines(node))
    return len(kept)


def _docstring_lines(
    node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef,
) -> range:
    first = node.body[0] if node.body else None
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
        if isinstance(first.value.value, str):
            return range(first.lineno, (first.end_lineno or first.lineno) + 1)
    return range(0)


def mpy_bytes() -> dict[str, int]:
    """Size of each of the loader's files, compiled as a factory image has them."""
    from outpost.build.compile import LOADER_LEVEL, compile_all

    sources = {f"loader/{file.name}": file for file in loader_files()}
    return {name: len(data) for name, data in compile_all(sources, LOADER_LEVEL).items()}


def loader_files() -> list[Path]:
    return sorted(LOADER.glob("*.py"))


def test_the_loader_fits_its_lines() -> None:
    lines = {f.name: code_lines(f.read_text()) for f in loader_files()}
    assert 0 < sum(lines.values()) <= LOADER_LINES, lines


def test_the_loader_fits_its_bytes() -> None:
    sizes = mpy_bytes()
    assert 0 < sum(sizes.values()) <= LOADER_MPY_BYTES, sizes


def test_code_lines_leaves_out_what_is_not_code() -> None:
    source = '"""Doc\nof two lines."""\n\n# why\nx = 1  # counts\n'
    source += 'def f():\n    """Doc."""\n    return 2\n'
    assert code_lines(source) == 3


class Function:
    """A function of the product and its measures."""

    def __init__(self, path: Path, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self.where = f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        self.lines = (node.end_lineno or node.lineno) - node.lineno + 1
        names = [a.arg for a in (*node.args.posonlyargs, *node.args.args)]
        self.parameters = len(names) - (names[:1] in (["self"], ["cls"]))


def product_files() -> list[Path]:
    files = [*(ROOT / "firmware").rglob("*.py"), *(ROOT / "host_tools").rglob("*.py")]
    return sorted(files)


def functions() -> Iterator[Function]:
    for path in product_files():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield Function(path, node)


def too_long() -> list[str]:
    return [f"{f.where}: {f.lines} lines" for f in functions() if f.lines > FUNCTION_LINES]


def files_too_long() -> list[str]:
    counted = ((p, len(p.read_text().splitlines())) for p in product_files())
    return [f"{p.relative_to(ROOT)}: {n} lines" for p, n in counted if n > FILE_LINES]


@pytest.mark.parametrize("check", [too_long, files_too_long])
def test_house_caps(check) -> None:  # type: ignore[no-untyped-def]
    found = check()
    assert not found, "\n".join(found)


def test_half_of_all_functions_are_short() -> None:
    assert statistics.median(f.lines for f in functions()) <= FUNCTION_MEDIAN_LINES


def report() -> str:
    """The figures behind the budgets."""
    sizes = mpy_bytes()
    measured = list(functions())
    median = statistics.median(f.lines for f in measured)
    wide = [f"{f.where}: {f.parameters} parameters" for f in measured if f.parameters > PARAMETERS]
    rows = [
        f"loader: {sum(code_lines(f.read_text()) for f in loader_files())}/{LOADER_LINES} lines, "
        f"{sum(sizes.values())}/{LOADER_MPY_BYTES} bytes of .mpy",
        *(f"  {name}: {size} bytes" for name, size in sizes.items()),
        f"functions: {len(measured)}, median {median:g} lines",
        *too_long(),
        *files_too_long(),
        *wide,
    ]
    return "\n".join(rows)


if __name__ == "__main__":
    print(report())
