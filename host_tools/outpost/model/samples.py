"""Recorded telemetry as rows of scaled integers: what a device would have seen.

Reads a CSV export: a header with the columns' names, one row per sample, an empty cell where there
was no value; `time_ms` and columns that are not asked for are ignored. Numbers become integers by
the schema's exponents, exactly, or are refused.
"""

from __future__ import annotations

import csv
from decimal import Decimal, InvalidOperation
from pathlib import Path

from node.core.record import read_schema

from outpost.errors import ExitCode, OutpostError

Row = list[int]


def _wrong(path: Path, what: str, fix: str) -> OutpostError:
    return OutpostError("model-data", f"{path}: {what}", fix, ExitCode.USAGE)


def scales(schema: Path) -> dict[str, int]:
    """The exponent of each column of a schema.cbor."""
    return {name: scale for name, _, scale in read_schema(schema.read_bytes())}


def read_rows(path: Path, wanted: list[str], exponents: dict[str, int]) -> list[Row]:
    """The rows in which every wanted column has a value."""
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        missing = [name for name in wanted if name not in (reader.fieldnames or [])]
        if missing:
            known = ", ".join(reader.fieldnames or [])
            raise _wrong(path, f"it has no column {missing[0]}", f"its columns: {known}")
        rows = []
        for cells in reader:
            texts = [cells[name] for name in wanted]
            if all(texts):
                rows.append(_row(path, reader.line_num, texts, wanted, exponents))
    return rows


def _row(
    path: Path, line: int, texts: list[str], wanted: list[str], exponents: dict[str, int]
) -> Row:
    out = []
    for name, text in zip(wanted, texts, strict=True):
        try:
            out.append(int((Decimal(text).scaleb(-exponents[name])).to_integral_value()))
        except (InvalidOperation, ValueError) as error:
            raise _wrong(path, f"line {line}: {text!r} is no number", "correct it") from error
    return out
