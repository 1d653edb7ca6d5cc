"""docs/reference/product.md: the keys of product.toml, written from the schema itself."""

from outpost.build.product import BOARD, CALIBRATION, FILTER, RAIL, SENSOR, TABLES, Key

PAGE = "docs/reference/product.md"
_HEAD = """\
# product.toml

What a product is made of: one TOML file in the product's folder, beside an optional `drivers/`
folder with drivers of its own (one file each, a class `Driver` and the constant `CHANNELS`).
`outpost new FOLDER` writes one that builds; `outpost build FOLDER` compiles it. An unknown key, a
wrong type or a value out of range is refused, with the key and the remedy.

This page is written from the schema in `host_tools/outpost/build/product.py`.
"""
_SECTIONS = (
    ("[boards.<board>]", "What is different on one board of `product.boards`.", BOARD),
    ("[[sensors]]", "One for each part; a column of the records is `<sensor>_<channel>`.", SENSOR),
    (
        "options of every sensor",
        "A switched supply: on before the sensor is asked, off when it has answered. Sensors may "
        "share one; each names its own current. All other options are the driver's.",
        RAIL,
    ),
    ("[sensors.calibration.<channel>]", "value * gain + offset.", CALIBRATION),
    ("[filters.<sensor>_<channel>]", "How a column is thinned; absent keys do nothing.", FILTER),
)


def page() -> str:
    """The whole page."""
    parts = [_HEAD]
    for name, schema in TABLES.items():
        parts.append(_section(f"[{name}]", "", schema))
    parts += [_section(*section) for section in _SECTIONS]
    return "\n".join(parts)


def _section(title: str, about: str, schema: dict[str, Key]) -> str:
    rows = [
        f"| `{name}` | {_kind(key)} | {_default(key)} | {key.about} |"
        for name, key in schema.items()
    ]
    heading = f"`{title}`" if title[0] == "[" else title
    lines = [f"## {heading}", "", *([about, ""] if about else [])]
    return "\n".join(
        [*lines, "| key | value | default | meaning |", "|---|---|---|---|", *rows, ""]
    )


def _kind(key: Key) -> str:
    if key.allowed:
        return " or ".join(f'"{value}"' for value in key.allowed)
    names = {str: "text", bool: "true or false", list: "list", dict: "table"}
    if key.kind in names:
        return names[key.kind]
    kind = "number" if key.kind is float else "whole number"
    return f"{kind}, {key.low:g} to {key.high:g}"


def _default(key: Key) -> str:
    if key.optional:
        return "none"
    if key.default is None:
        return "required"
    return str(key.default).lower() if key.kind is bool else str(key.default)
