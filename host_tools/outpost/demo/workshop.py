"""The workshop: builds and signs the story's releases, the next one while the boards are busy.

Owns one thread, so that releases are made in the order in which they were begun. A change is a
firmware module and what becomes of its source; nothing is kept from one build to the next.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from outpost.paths import project_root

if TYPE_CHECKING:
    from outpost.build.release import BuildResult
    from outpost.signing import SigningKey

PRODUCT = "weather"
# The product's own pace is for years on a wall; a story has seconds. After each start a device
# waits for up to a quarter of `check_s`, so that a whole street does not ask at once.
_PACE = {"sample_s": 1, "publish_s": 2, "heartbeat_s": 10, "deadline_s": 40, "check_s": 30}


@dataclass(frozen=True)
class Change:
    """What a release changes: `edit` makes the new source of the module for a version."""

    module: str
    edit: Callable[[str, str], str]


class Workshop:
    """Everything in `folder`: the product at the story's pace, overlays, build folders."""

    def __init__(self, folder: Path, key: SigningKey) -> None:
        self._folder = folder
        self._key = key
        self._bench = ThreadPoolExecutor(1, "workshop")
        self._orders: dict[str, Future[BuildResult]] = {}

    def begin(self, version: str, change: Change | None = None) -> None:
        """Build and sign a version, in its turn; returns at once."""
        self._orders[version] = self._bench.submit(self._make, version, change)

    def finished(self, version: str) -> BuildResult:
        """The signed build, as soon as it is there. Raises what went wrong in making it."""
        return self._orders[version].result()

    def close(self) -> None:
        """No build is begun any more; the one at work comes to its end."""
        self._bench.shutdown(cancel_futures=True)

    def _make(self, version: str, change: Change | None) -> BuildResult:
        from outpost import build
        from outpost.signing import sign_file

        overlay = self._overlay(version, change) if change else None
        made = build.build(
            self._product(), self._folder / "build", version=version, overlay=overlay
        )
        sign_file("release", made.payload, made.signed, self._key)
        return made

    def _product(self) -> Path:
        """The product of the repository, at the story's pace."""
        target = self._folder / "product"
        if not target.exists():
            shutil.copytree(project_root() / "firmware" / "products" / PRODUCT, target)
            recipe = target / "product.toml"
            recipe.write_text(_at_pace(recipe.read_text()))
        return target

    def _overlay(self, version: str, change: Change) -> Path:
        folder = self._folder / f"changes-{version}"
        source = (project_root() / "firmware" / change.module).read_text()
        target = folder / change.module
        target.parent.mkdir(parents=True)
        target.write_text(change.edit(source, version))
        return folder


def _at_pace(recipe: str) -> str:
    for key, value in _PACE.items():
        recipe, count = re.subn(rf"(?m)^{key} = \d+", f"{key} = {value}", recipe)
        assert count == 1, key
    return recipe
