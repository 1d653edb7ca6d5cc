"""`make bench`: measure, print a table, keep the figures as JSON in build/bench/.

    python -m tests.bench                    every benchmark
    python -m tests.bench mqtt [ARGUMENTS]   one of them, with its own arguments

A benchmark is a module of this folder with measure(arguments) -> rows; a row has name, who,
value, unit and, where there is one, ratio, target and met.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import platform
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
OUT = HERE.parent.parent / "build" / "bench"


def benchmarks() -> list[str]:
    """The modules here that have a measure()."""
    return sorted(
        file.stem
        for file in HERE.glob("*.py")
        if "\ndef measure(" in file.read_text() and not file.stem.startswith("_")
    )


def show(name: str, rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=name, title_justify="left")
    for title in ("what", "who", "value", "unit", "x floor", "target", ""):
        table.add_column(title, justify="right" if title in ("value", "x floor") else "left")
    for row in rows:
        value = row["value"]
        ratio = row.get("ratio")
        met = row.get("met")
        table.add_row(
            row["name"],
            row["who"],
            f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}",
            row["unit"],
            "" if ratio is None else f"{ratio:.2f}",
            row.get("target", "") if met is not None else "",
            {True: "met", False: "missed", None: ""}[met],
        )
    Console(width=110 if not sys.stdout.isatty() else None).print(table)


def main(arguments: list[str]) -> int:
    names = benchmarks()
    if arguments and arguments[0] in names:
        names = [arguments.pop(0)]
    elif arguments:
        print(f"no benchmark {arguments[0]}; there are: {', '.join(names)}", file=sys.stderr)
        return 2
    missed = 0
    for name in names:
        found = importlib.import_module(f"tests.bench.{name}").measure(arguments)
        rows = [dataclasses.asdict(row) if dataclasses.is_dataclass(row) else row for row in found]
        show(name, rows)
        OUT.mkdir(parents=True, exist_ok=True)
        machine = {"machine": platform.machine(), "python": platform.python_version()}
        kept = {"schema_version": 1, "at": int(time.time()), **machine, "rows": rows}
        (OUT / f"{name}.json").write_text(json.dumps(kept, indent=1) + "\n")
        missed += sum(row.get("met") is False for row in rows)
    if missed:
        print(f"{missed} targets missed", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
