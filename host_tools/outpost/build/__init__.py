"""Building: product.toml, firmware and boards to a release that can be signed, and to factory
images.

result = build("firmware/products/weather", out="build", version="1.1.0", overlay="changed/")
...sign result.payload into result.signed... image = factory_image(result.folder, "rpi_pico_w",
root="roots/1.cose")
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from outpost.build.release import BuildResult


def build(
    product_dir: Path | str,
    out: Path | str = "build",
    version: str | None = None,
    overlay: Path | str | None = None,
    source: str | None = None,
    runtime: Path | str | None = None,
) -> BuildResult:
    """Build a product; see `release.build`. `overlay` is a folder of files that replace or join
    firmware/; `runtime` is a MicroPython image that goes with the release.
    """
    from outpost.build import release

    options = release.BuildOptions(
        version=version,
        overlay=Path(overlay) if overlay else None,
        source=source,
        runtime=Path(runtime) if runtime else None,
    )
    return release.build(Path(product_dir), Path(out), options)


def factory_image(build_dir: Path | str, board: str, root: Path | str, hardware: int = 1) -> Path:
    """factory/<board>.img of a build whose release is signed: the board's whole filesystem."""
    from outpost.build import image

    return image.factory_image(Path(build_dir), board, Path(root), hardware)
