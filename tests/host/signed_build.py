"""A product built, signed and made into images, once per test run: what many tests start from."""

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

from outpost import build
from outpost.build.release import BuildResult
from outpost.signing import cose
from outpost.signing.ceremony import Ceremony

ROOT = Path(__file__).resolve().parents[2]
WEATHER = ROOT / "firmware" / "products" / "weather"
_FOLDER = TemporaryDirectory(prefix="outpost-build-")


@dataclass(frozen=True)
class SignedBuild:
    """A build whose release is signed, and the trust root that accepts it."""

    result: BuildResult
    ceremony: Ceremony

    @property
    def root(self) -> Path:
        return self.ceremony.root_path(1)

    def image(self, board: str) -> Path:
        return build.factory_image(self.result.folder, board, self.root)


@lru_cache(maxsize=1)
def ceremony() -> Ceremony:
    """Keys made for this run."""
    return Ceremony.create(Path(_FOLDER.name) / "keys", plain=True)


def in_mode(recipe: str, mode: str) -> str:
    """The weather product's recipe with every board in one mode, whatever its memory."""
    recipe, count = re.subn(r'(?m)^mode = "\w+"', f'mode = "{mode}"', recipe)
    assert count == 2
    return recipe


def for_boards(recipe: str, boards: str, own: str = "") -> str:
    """The weather product's recipe for these boards (as in TOML), with what is their own."""
    head, rest = recipe.split("[boards.esp32_generic]")
    named = re.sub(r"(?m)^boards = .*", f"boards = [{boards}]", head)
    return f"{named}{own}\n[telemetry]{rest.partition('[telemetry]')[2]}"


def sign(result: BuildResult, keys: Ceremony) -> None:
    cose.sign_file("release", result.payload, result.signed, keys.key("release"))


@lru_cache(maxsize=1)
def weather() -> SignedBuild:
    """The weather product, as it is in the checkout."""
    result = build.build(WEATHER, Path(_FOLDER.name) / "build", source="test")
    sign(result, ceremony())
    return SignedBuild(result, ceremony())
