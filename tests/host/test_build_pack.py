"""Packs: what the build puts in is what the VM imports, and what could be mistaken is refused."""

import subprocess
from pathlib import Path

import pytest
from outpost.build import compile as compiling
from outpost.build import pack
from outpost.errors import OutpostError
from outpost.paths import project_root, tool_path

_MODULES = {
    "node/main.mpy": "from node import packs\npacks.mount()\npacks.mount()\n",
    "node/core/one.mpy": "NAME = 'one, a string too long to be interned by anybody'\n",
    "node/core/deep/two.mpy": "from node.core import one\nNAME = one.NAME.replace('one', 'two')\n",
    "node/tasks/three.mpy": "import node.core.deep.two as two\ndef said():\n    return two.NAME\n",
    "node/lone.mpy": "VALUE = 4\n",
}
_PROGRAM = """
import sys
sys.path[:] = [{slot!r}]
import node.main
from node.tasks import three
from node.lone import VALUE
print(three.said(), VALUE, node.__path__)
for name in ("node.core.none", "node.none", "node.core.deep.one", "node.tasks.one"):
    try:
        __import__(name)
    except ImportError:
        print("no", name)
"""


def _slot(tmp_path: Path) -> tuple[Path, dict[str, bytes]]:
    sources: dict[str, Path] = {}
    texts = dict(_MODULES, **{"node/packs.mpy": ""})
    for number, (name, text) in enumerate(texts.items()):
        path = tmp_path / f"{number}.py"
        path.write_text(text)
        sources[name.replace(".mpy", ".py")] = path
    sources["node/packs.py"] = project_root() / "firmware/node/packs.py"
    files = pack.packed(compiling.compile_all(sources, compiling.NODE_LEVEL))
    slot = tmp_path / "a"
    for name, data in files.items():
        (slot / name).parent.mkdir(parents=True, exist_ok=True)
        (slot / name).write_bytes(data)
    return slot, files


@pytest.mark.parametrize("vm", ["micropython", "micropython32"])
def test_the_vm_imports_what_was_packed(tmp_path: Path, vm: str) -> None:
    slot, files = _slot(tmp_path)
    assert set(files) == {
        "node/main.mpy",
        "node/packs.mpy",
        "node/core.pack",
        "node/modes.pack",
        "node/tasks.pack",
    }
    program = _PROGRAM.format(slot=str(slot))
    run = subprocess.run(
        [tool_path(vm), "-c", program], capture_output=True, text=True, timeout=20, check=False
    )
    assert run.stdout.splitlines() == [
        "two, a string too long to be interned by anybody 4 /node",
        "no node.core.none",
        "no node.none",
        "no node.core.deep.one",
        "no node.tasks.one",
    ], run.stdout + run.stderr


def test_a_module_stays_where_it_is_when_others_come() -> None:
    few = {"node/core/log.mpy": b"log", "node/tasks/sense.mpy": b"sense"}
    more = dict(few, **{"node/hal/new.mpy": b"new", "product.cbor": b"\xa0"})
    before, after = pack.packed(few), pack.packed(more)
    assert {name: after[name] for name in before} == before
    assert after["product.cbor"] == b"\xa0"


def test_two_modules_of_one_key_are_refused() -> None:
    seen: dict[int, str] = {}
    for number in range(100_000):
        path = f"/core/m{number * 7919:09x}.mpy"
        other = seen.setdefault(pack.key_of(path), path)
        if other != path:
            break
    with pytest.raises(OutpostError, match="same key"):
        pack.packed({f"node{path}": b"x" for path in (path, other)})


def test_a_module_that_would_be_taken_for_a_missing_one_is_refused() -> None:
    asked = pack.key_of("/core/log.py")  # looked for before /core/log.mpy
    evil = next(
        f"/hal/x{n}.mpy" for n in range(100_000_000) if pack.key_of(f"/hal/x{n}.mpy") == asked
    )
    with pytest.raises(OutpostError, match="same key"):
        pack.packed({"node/core/log.mpy": b"log", f"node{evil}": b"x"})
