"""The demo's workshop makes releases in their order, ahead of the story, and hides no failure."""

import threading
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from outpost import build, signing
from outpost.demo import workshop
from outpost.demo.workshop import Change, Workshop
from outpost.errors import OutpostError
from outpost.paths import project_root


class Benches:
    """Stands in for building and signing; `go` lets a build come to its end."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.at_work = threading.Event()
        self.began: list[str] = []
        self.signed: list[tuple[Any, ...]] = []

    def build(self, product: Path, out: Path, *, version: str, overlay: Path | None) -> Any:
        self.began.append(version)
        self.at_work.set()
        self.go.wait(5)
        if version == "6.6.6":
            raise OutpostError("compile", "it does not compile", "")
        return SimpleNamespace(
            product=product, overlay=overlay, payload=f"p{version}", signed=out / version
        )


@pytest.fixture
def benches(monkeypatch: pytest.MonkeyPatch) -> Benches:
    found = Benches()
    monkeypatch.setattr(build, "build", found.build)
    monkeypatch.setattr(signing, "sign_file", lambda *given: found.signed.append(given))
    return found


def test_releases_are_made_one_after_the_other(benches: Benches, tmp_path: Path) -> None:
    shop = Workshop(tmp_path, "key")  # type: ignore[arg-type]
    for version in ("1.0.0", "1.1.0"):
        shop.begin(version)
    assert benches.began in ([], ["1.0.0"]) and benches.signed == []
    benches.go.set()
    assert shop.finished("1.1.0").payload == "p1.1.0"
    assert benches.began == ["1.0.0", "1.1.0"]
    assert benches.signed[0] == ("release", "p1.0.0", tmp_path / "build" / "1.0.0", "key")
    shop.close()


def test_a_change_becomes_an_overlay(benches: Benches, tmp_path: Path) -> None:
    benches.go.set()
    shop = Workshop(tmp_path, "key")  # type: ignore[arg-type]
    shop.begin("2.0.0", Change("node/main.py", lambda source, version: source + version))
    overlay = shop.finished("2.0.0").overlay
    before = (project_root() / "firmware" / "node" / "main.py").read_text()
    assert (overlay / "node" / "main.py").read_text() == before + "2.0.0"
    shop.close()


def test_the_product_has_the_pace_of_a_story(benches: Benches, tmp_path: Path) -> None:
    benches.go.set()
    shop = Workshop(tmp_path, "key")  # type: ignore[arg-type]
    shop.begin("1.0.0")
    recipe = tomllib.loads((shop.finished("1.0.0").product / "product.toml").read_text())
    given = {**recipe["telemetry"], **recipe["health"], **recipe["update"]}
    assert {name: given[name] for name in workshop._PACE} == workshop._PACE
    shop.close()


def test_a_failure_is_told_to_who_asks_for_the_release(benches: Benches, tmp_path: Path) -> None:
    benches.go.set()
    shop = Workshop(tmp_path, "key")  # type: ignore[arg-type]
    shop.begin("6.6.6")
    with pytest.raises(OutpostError, match="does not compile"):
        shop.finished("6.6.6")
    assert benches.signed == []
    shop.close()


def test_after_the_end_nothing_is_begun(benches: Benches, tmp_path: Path) -> None:
    shop = Workshop(tmp_path, "key")  # type: ignore[arg-type]
    for version in ("1.0.0", "1.1.0"):
        shop.begin(version)
    assert benches.at_work.wait(5)
    threading.Timer(0.1, benches.go.set).start()
    shop.close()
    assert benches.began == ["1.0.0"] and len(benches.signed) == 1
