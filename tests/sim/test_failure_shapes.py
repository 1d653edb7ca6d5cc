"""The ways a release can fail (failure_shapes.toml), each lived through by a simulated board that
belongs to a fleet: rolled out, tried, taken back or kept, and what the fleet was told of it.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from loader import cbor, layout
from outpost.fleet.rollout import Policy, Stage

from tests.sim.fleet_node import Lab, make_product, make_release

pytestmark = [pytest.mark.vm, pytest.mark.broker]
FIRMWARE = Path(__file__).resolve().parents[2] / "firmware"
SHAPES = tomllib.loads(Path(__file__).with_name("failure_shapes.toml").read_text())["shape"]
# They take as long as a device's patience: not for every day.
_LONG = ("no network", "hang", "slow leak")
_CUTS = 3  # as many as the faults that end a trial
_POLICY = Policy(soak_s=0, offers_per_minute=6000)
_ALL = [Stage("all", percent=100)]


def _row(shape: dict[str, Any]) -> Any:
    marks = [pytest.mark.exhaustive] if shape["name"] in _LONG else []
    return pytest.param(shape, id=shape["name"], marks=marks)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with Lab(tmp_path_factory.mktemp("lab")) as lab:
        yield lab.start()


def overlay_of(shape: dict[str, Any], folder: Path) -> Path:
    """The files of firmware/ that have the shape's defect."""
    folder.mkdir()
    for file, old, new in shape.get("change", []):
        path = folder / file
        text = (path if path.exists() else FIRMWARE / file).read_text()
        assert text.count(old) == 1, (file, old)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace(old, new))
    return folder


def roll_out(lab: Lab, folder: Path, shape: dict[str, Any], version: str) -> tuple[str, bytes]:
    """Publish a release of this shape and offer it to the board; (rollout, digest)."""
    product = make_product(folder / "product", **shape.get("pace", {}))
    overlay = overlay_of(shape, folder / "overlay")
    release = make_release(product, folder / "build", version, overlay=overlay)
    lab.server.publish(release.folder)
    rollout = lab.server.rollouts.create("weather", version, _ALL, _POLICY)
    return rollout, bytes.fromhex(release.digest)


def record_of(lab: Lab) -> dict[str, Any]:
    return dict(cbor.decode(lab.files()[layout.RECORD][8:]))


def evidence_of(lab: Lab, digest: bytes) -> list[dict[str, Any]]:
    return [
        e.body for e in lab.events("evidence") if e.body.get("digest") in (digest, digest.hex())
    ]


@pytest.mark.parametrize("shape", [_row(shape) for shape in SHAPES])
def test_shape(lab: Lab, shape: dict[str, Any], tmp_path: Path) -> None:
    before = lab.device.version
    version = f"1.{1 + SHAPES.index(shape)}.0"
    rollout, digest = roll_out(lab, tmp_path, shape, version)
    if "power" in shape:
        pull(lab, shape["power"], version)

    def ended() -> bool:
        return state_of(lab, rollout) in ("rolled_back", "confirmed")

    lab.until(ended, f"the end of {shape['name']}", 120)
    assert state_of(lab, rollout) == shape["end"]
    if shape["end"] == "confirmed":
        lab.until(lambda: lab.device.version == version and lab.device.confirmed, "confirmation")
        assert evidence_of(lab, digest) == [] and digest not in record_of(lab)["failed"]
    else:
        lab.until(lambda: lab.device.version == before and lab.device.online, "the old release")
        check_rolled_back(lab, shape, digest)


def pull(lab: Lab, how: str, version: str) -> None:
    """Take the power away again and again while the release is on trial."""
    assert lab.sim
    for _ in range(_CUTS):
        seen = len(lab.lines)
        lab.until(
            lambda seen=seen: any(re.search(rf"release {version}\b", x) for x in lab.lines[seen:]),
            "the start of the trial",
        )
        assert record_of(lab)["trial"][3] == 0
        getattr(lab.sim, how)()


def state_of(lab: Lab, rollout: str) -> str:
    return str(lab.server.rollouts.status(rollout)["devices"][0]["state"])


def check_rolled_back(lab: Lab, shape: dict[str, Any], digest: bytes) -> None:
    found = lab.until(lambda: evidence_of(lab, digest), "the evidence")
    last = max(found, key=lambda one: int(one["tries"]))
    assert last["cause"] in shape["causes"] and last["tries"] == shape["tries"], found
    assert shape["stage"] in last["stage"] and shape["text"] in last["text"], found
    record = record_of(lab)
    assert digest in record["failed"] and record["trial"] == []
    lab.until(lambda: layout.EVIDENCE not in lab.files(), "evidence to be forgotten once told")


def test_what_has_failed_is_not_tried_again(lab: Lab, tmp_path: Path) -> None:
    failed = record_of(lab)["failed"]
    bad = [shape["name"] for shape in SHAPES if shape["end"] == "rolled_back"]
    daily = [name for name in bad if name not in _LONG]
    assert len(failed) in (len(bad), len(daily))
    before = lab.device.version
    lab.server.rollouts.create("weather", "1.2.0", _ALL, _POLICY)  # "exception"

    def refused() -> bool:
        return any(
            e.body.get("s") == "refused" and e.body.get("code") == "failed-before"
            for e in lab.events("update")
        )

    lab.until(refused, "the refusal")
    assert lab.device.version == before and record_of(lab)["failed"] == failed
