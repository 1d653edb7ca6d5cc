"""The house's arrows (design, section 1), read from the imports: every source file falls under a
rule, or this fails.

A rule names files by a pattern, the modules they may import by prefix, and those they may not
although a prefix allows them.  The first pattern that fits a file is its rule.  Imports inside
functions count as well; those under `if TYPE_CHECKING:` count for project modules only.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TREES = ("firmware", "host_tools")

LOADER = "struct hashlib binascii os micropython loader"
PURE_LOADER_NOT = "loader.start loader.handover"
CORE_STDLIB = (
    "struct hashlib binascii deflate cryptolib math array collections micropython errno io"
)
CHIP = "machine network socket tls esp32 rp2 vfs os time gc select asyncio onewire neopixel sys"
PROJECT = ("loader", "node", "outpost", "machine")


@dataclass(frozen=True)
class Rule:
    """Which files, what they may import, and the exceptions to that."""

    files: str
    allowed: str
    forbidden: str = ""
    host: bool = False  # any stdlib and third-party module is allowed as well
    may_print: bool = False


def host(files: str, project: str, **kwargs: bool) -> Rule:
    """A host package: it may use the device's pure code, never its I/O, and never the command
    line."""
    device = "node.hal node.tasks node.drivers node.main loader.start loader.handover"
    return Rule(files, project + " loader node.core", device + " outpost.cli", host=True, **kwargs)


BASE = "outpost.errors outpost.paths outpost.boards outpost.toolchain outpost.debian"

RULES = (
    Rule("firmware/boot.py", "sys gc machine"),
    Rule("firmware/main.py", "loader.start esp32"),
    Rule(
        "firmware/loader/start.py", LOADER + " machine vfs sys gc time node.main", may_print=True
    ),
    Rule("firmware/loader/*.py", LOADER, "loader.start"),
    # CPython has zlib where the VM has deflate.
    Rule("firmware/node/core/inflate.py", CORE_STDLIB + " zlib loader node.core", PURE_LOADER_NOT),
    Rule("firmware/node/core/*", CORE_STDLIB + " loader node.core", PURE_LOADER_NOT),
    Rule(
        "firmware/node/drivers/*", CORE_STDLIB + " loader node.core node.drivers", PURE_LOADER_NOT
    ),
    Rule(
        "firmware/node/hal/*", CORE_STDLIB + f" {CHIP} loader node.core node.hal", PURE_LOADER_NOT
    ),
    Rule(
        "firmware/node/tasks/*",
        CORE_STDLIB + " asyncio gc sys loader node.core node.drivers node.tasks",
        PURE_LOADER_NOT,
    ),
    # The entry, how its modules are found, and the composition roots.
    Rule(
        "firmware/node/main.py",
        "os loader.cbor node.packs node.powered node.battery node.updating node.hal.runtime"
        " node.parts.farewell",
    ),
    Rule("firmware/node/packs.py", "binascii os sys vfs"),
    Rule("firmware/node/battery.py", f"{CORE_STDLIB} {CHIP} loader node"),
    Rule("firmware/node/updating.py", f"{CORE_STDLIB} {CHIP} loader node"),
    Rule("firmware/node/powered.py", f"{CORE_STDLIB} {CHIP} loader node"),
    # The composition root's parts, loaded when they are needed.
    Rule("firmware/node/parts/*", f"{CORE_STDLIB} {CHIP} loader node", may_print=True),
    Rule("firmware/node/__init__.py", ""),
    Rule("firmware/products/*", CORE_STDLIB + " node.core node.drivers", PURE_LOADER_NOT),
    Rule("host_tools/micropython.py", "", host=True),
    Rule("host_tools/bootstrap.py", "outpost.errors outpost.toolchain", host=True, may_print=True),
    Rule("host_tools/lock.py", "", host=True, may_print=True),
    # The simulated chip runs on the VM: no third-party module, no host module, nothing of the
    # node.
    Rule(
        "host_tools/outpost/sim/chip/*",
        CORE_STDLIB + f" {CHIP} ffi uctypes json random __main__ outpost.sim.chip",
        may_print=True,
    ),
    Rule("host_tools/outpost/cli/*", "outpost loader node.core", host=True, may_print=True),
    host("host_tools/outpost/errors.py", ""),
    host("host_tools/outpost/debian.py", "outpost.errors"),
    host("host_tools/outpost/signing/*", BASE + " outpost.signing"),
    host("host_tools/outpost/build/*", BASE + " outpost.signing outpost.build"),
    host("host_tools/outpost/sim/*", BASE + " outpost.sim"),
    host("host_tools/outpost/model/*", BASE + " outpost.model"),
    host("host_tools/outpost/power/*", BASE + " outpost.build outpost.sim outpost.power"),
    host("host_tools/outpost/fleet/*", BASE + " outpost.signing outpost.build outpost.fleet"),
    host(
        "host_tools/outpost/factory/*",
        BASE + " outpost.signing outpost.build outpost.fleet outpost.factory",
    ),
    host(
        "host_tools/outpost/demo/*",
        BASE + " outpost.signing outpost.build outpost.fleet outpost.factory outpost.sim"
        " outpost.demo outpost.model outpost.power outpost.__version__",
    ),
    host("host_tools/outpost/__init__.py", ""),
    host("host_tools/outpost/[a-z]*.py", BASE + " outpost.__version__"),
)


def rule_of(path: str) -> Rule | None:
    """The first rule whose pattern fits; `*` at the end of a pattern reaches into sub-folders,
    `*.py` does not."""
    for rule in RULES:
        deep = rule.files.endswith("/*")
        same_depth = rule.files.count("/") == path.count("/")
        if fnmatchcase(path, rule.files) and (deep or same_depth):
            return rule
    return None


@dataclass(frozen=True)
class Import:
    """One imported module; `typing_only` when it is under `if TYPE_CHECKING:`."""

    module: str
    line: int
    typing_only: bool


def _is_typing_guard(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def imports_of(tree: ast.Module, package: str) -> Iterator[Import]:
    """All imports of a module, relative ones made absolute; `from a.b import c` counts as
    a.b.c."""
    stack: list[tuple[ast.AST, bool]] = [(tree, False)]
    while stack:
        node, typing_only = stack.pop()
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno, typing_only)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, package)
            for alias in node.names:
                yield Import(f"{base}.{alias.name}", node.lineno, typing_only)
        elif dynamic := _dynamic_import(node):
            yield Import(dynamic, getattr(node, "lineno", 0), typing_only)
        inside = typing_only or _is_typing_guard(node)
        stack.extend((child, inside) for child in ast.iter_child_nodes(node))


def _dynamic_import(node: ast.AST) -> str:
    """The module of `__import__("x")` and `import_module("x")`, when it is written out."""
    if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
        if ast.unparse(node.func).split(".")[-1] in ("__import__", "import_module"):
            return str(node.args[0].value)
    return ""


def _absolute(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    parts = package.split(".")
    kept = parts[: len(parts) - node.level + 1]
    return ".".join([*kept, node.module] if node.module else kept)


def package_of(path: Path) -> str:
    """The package that relative imports of a file start from."""
    return ".".join(path.parent.parts[1:])


def _matches(module: str, names: str) -> bool:
    return any(module == name or module.startswith(name + ".") for name in names.split())


def allows(rule: Rule, imported: Import) -> bool:
    """Whether a rule lets a file import that."""
    module = imported.module
    project = module.split(".")[0] in PROJECT
    if _matches(module, rule.forbidden):
        return False
    if rule.host and not project:
        # click belongs to the command line: a library that imports it prints or exits sooner or
        # later.
        return "outpost/cli" in rule.files or module.split(".")[0] != "click"
    if _matches(module, "typing collections.abc types __future__"):
        return True
    if imported.typing_only and not project:
        return True
    return _matches(module, rule.allowed) or _parent_of_allowed(module, rule.allowed)


def _parent_of_allowed(module: str, names: str) -> bool:
    """`from collections import deque` is collections.deque: the prefix decides; `import node` is
    its parent."""
    return any(name.startswith(module + ".") for name in names.split())


PRINTING = {"print", "input", "exit", "quit", "breakpoint"}
EXITING = {"sys.exit", "os._exit", "sys.stdout.write", "sys.stderr.write", "getpass.getpass"}


def prints_of(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Calls that print, prompt or end the process, and raises of SystemExit."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if name in PRINTING | EXITING:
                yield name, node.lineno
        elif isinstance(node, ast.Raise) and node.exc and "SystemExit" in ast.unparse(node.exc):
            yield "SystemExit", node.lineno


def violations(path: str, source: str) -> list[str]:
    """What is wrong with one file, in words."""
    rule = rule_of(path)
    if rule is None:
        return [f"{path}: no rule in tests/host/test_layers.py covers this file"]
    tree = ast.parse(source)
    found = [
        f"{path}:{i.line}: imports {i.module}; the rule for {rule.files} does not allow it"
        for i in imports_of(tree, package_of(Path(path)))
        if not allows(rule, i)
    ]
    if not rule.may_print:
        found += [
            f"{path}:{line}: calls {name}; only the command line does"
            for name, line in prints_of(tree)
        ]
    return found


def sources() -> list[str]:
    """Every Python file of the product, relative to the checkout."""
    files = (f for tree in TREES for f in (ROOT / tree).rglob("*.py"))
    return sorted(str(f.relative_to(ROOT)) for f in files if ".egg-info" not in str(f))


def test_there_is_something_to_check() -> None:
    assert len(sources()) > 50


def test_every_file_keeps_to_its_layer() -> None:
    found = [v for path in sources() for v in violations(path, (ROOT / path).read_text())]
    assert not found, "\n" + "\n".join(found)


def test_every_rule_has_a_file() -> None:
    paths = sources()
    optional = ("products", "model", "power", "lock.py", "main.py", "demo")
    idle = [r.files for r in RULES if not any(rule_of(p) is r for p in paths)]
    assert not [files for files in idle if not any(word in files for word in optional)]


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("firmware/loader/trust.py", "import machine"),
        ("firmware/loader/trust.py", "def f():\n    import json"),
        ("firmware/loader/slots.py", "from node.core import record"),
        ("firmware/loader/slots.py", "from loader import start"),
        ("firmware/loader/slots.py", "from . import start"),
        ("firmware/node/core/outbox.py", "import time"),
        ("firmware/node/core/outbox.py", "from random import getrandbits"),
        ("firmware/node/core/outbox.py", "from node.hal import storage"),
        ("firmware/node/core/mqtt/session.py", "import asyncio"),
        ("firmware/node/core/mqtt/session.py", "__import__('socket')"),
        ("firmware/node/core/record.py", "import json"),
        ("firmware/node/core/record.py", "print(1)"),
        ("firmware/node/core/record.py", "import zlib"),
        ("firmware/node/drivers/bme280.py", "import machine"),
        ("firmware/node/drivers/bme280.py", "from machine import I2C"),
        ("firmware/node/hal/link.py", "from node.tasks import connect"),
        ("firmware/node/tasks/sense.py", "from node.hal import wifi"),
        ("firmware/node/tasks/sense.py", "from ..hal.wifi import Wifi"),
        ("firmware/node/tasks/sense.py", "import node.main"),
        ("host_tools/outpost/signing/cose.py", "from outpost.build import release"),
        ("host_tools/outpost/signing/cose.py", "from ..cli import output"),
        ("host_tools/outpost/fleet/server.py", "import outpost.cli.output"),
        ("host_tools/outpost/fleet/server.py", "import click"),
        ("host_tools/outpost/fleet/server.py", "def f():\n    from click import echo"),
        ("host_tools/outpost/fleet/server.py", "from node.hal import storage"),
        ("host_tools/outpost/fleet/server.py", "import sys\nsys.exit(1)"),
        ("host_tools/outpost/fleet/server.py", "raise SystemExit"),
        ("host_tools/outpost/fleet/server.py", "input('sure?')"),
        ("host_tools/outpost/fleet/server.py", "if TYPE_CHECKING:\n    import outpost.cli.main"),
        ("host_tools/outpost/sim/chip/flash.py", "import click"),
        ("host_tools/outpost/sim/chip/flash.py", "from outpost.errors import OutpostError"),
        ("firmware/extra/new.py", ""),
        ("firmware/loader/deeper/new.py", ""),
        ("host_tools/outpost/newpackage/new.py", ""),
        ("host_tools/stray.py", ""),
    ],
)
def test_a_planted_violation_is_caught(path: str, source: str) -> None:
    assert violations(path, source)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("firmware/loader/start.py", "import machine, vfs, sys, gc\nfrom loader import slots"),
        ("firmware/node/core/record.py", "from loader import cbor\nfrom struct import pack_into"),
        ("firmware/node/core/record.py", "if TYPE_CHECKING:\n    from typing import Any"),
        ("firmware/node/tasks/sense.py", "import asyncio\nfrom node.drivers import bme280"),
        ("host_tools/outpost/fleet/ingest.py", "from node.core import record\nimport sqlite3"),
        ("host_tools/outpost/cli/fleet.py", "import click\nfrom outpost.fleet import server"),
    ],
)
def test_what_is_allowed_passes(path: str, source: str) -> None:
    assert violations(path, source) == []
