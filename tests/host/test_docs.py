"""The documents keep up with the product: verbs, exit codes, generated parts, links, targets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from outpost.cli import reference
from outpost.cli.main import VERBS, available_verbs, cli
from outpost.errors import EXIT_CODE_MEANINGS, ExitCode

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / reference.PAGE


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every verb and every command below it, with its path."""
    ctx = click.Context(cli, info_name="outpost")
    stack = [(verb, cli.get_command(ctx, verb)) for verb in available_verbs()]
    while stack:
        path, command = stack.pop()
        assert command is not None, path
        yield path, command
        if isinstance(command, click.Group):
            stack += [(f"{path} {name}", child) for name, child in command.commands.items()]


@pytest.mark.parametrize("name", reference.PAGES)
def test_the_generated_parts_are_current(name: str) -> None:
    page = (ROOT / name).read_text()
    assert page == reference.PAGES[name](page), "run: make docs"


def test_make_docs_writes_every_page_that_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also the ones that went stale, and nothing else."""
    (tmp_path / "docs" / "reference").mkdir(parents=True)
    for name in reference.PAGES:
        (tmp_path / name).write_text((ROOT / name).read_text())
    product = tmp_path / "docs/reference/product.md"
    product.write_text(product.read_text().replace("warm_ms", "heat_ms"))
    monkeypatch.setattr(reference, "project_root", lambda: tmp_path)
    assert reference.main() == 0
    for name in reference.PAGES:
        assert (tmp_path / name).read_text() == (ROOT / name).read_text(), name


def test_a_stale_page_is_noticed() -> None:
    current = reference.fill(PAGE.read_text())
    stale = current.replace("| 5 |", "| 55 |")
    assert stale != current == reference.fill(stale)
    with pytest.raises(ValueError, match="markers"):
        reference.fill(current.replace("<!-- /verbs -->", ""))


def test_every_verb_is_documented() -> None:
    page = PAGE.read_text()
    undocumented = [path for path, _ in commands() if f"`outpost {path}`" not in page]
    assert not undocumented, "run: make docs"


def test_every_exit_code_has_a_meaning_and_is_documented() -> None:
    assert set(EXIT_CODE_MEANINGS) == set(ExitCode)
    page = PAGE.read_text()
    for code in ExitCode:
        assert f"| {int(code)} | {EXIT_CODE_MEANINGS[code]} |" in page


def test_every_command_and_option_says_what_it_does() -> None:
    silent = []
    for path, command in commands():
        if not command.help:
            silent.append(path)
        for param in command.params:
            if isinstance(param, click.Option) and not param.help and not param.hidden:
                silent.append(f"{path} {param.opts[0]}")
    assert not silent, silent


def test_every_module_of_the_command_line_is_a_listed_verb() -> None:
    folder = ROOT / "host_tools" / "outpost" / "cli"
    own = {"__init__", "main", "output", "reference"}
    modules = {f.stem for f in folder.glob("*.py")} - own
    strays = {m for m in modules - set(VERBS) if "\ncommand" in (folder / f"{m}.py").read_text()}
    assert not strays, "add them to VERBS in cli/main.py"


def documents() -> list[Path]:
    return [*sorted((ROOT / "docs").rglob("*.md")), *ROOT.glob("*.md")]


def broken_links(page: Path, text: str) -> list[str]:
    """Relative links and images whose target is not there."""
    prose = re.sub(r"```.*?```", "", text, flags=re.S)
    targets = re.findall(r"\]\(([^)\s]+)\)", prose)
    local = [t.split("#")[0] for t in targets if not re.match(r"[a-z]+:|#", t)]
    return [t for t in local if t and not (page.parent / t).exists()]


def test_no_link_is_broken() -> None:
    broken = {str(p.relative_to(ROOT)): broken_links(p, p.read_text()) for p in documents()}
    assert not {p: links for p, links in broken.items() if links}


def test_a_broken_link_is_noticed() -> None:
    assert broken_links(PAGE, "see [this](no-such-page.md#part) and [that](cli.md)") == [
        "no-such-page.md"
    ]


def test_every_make_target_that_is_mentioned_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    mentioned = {
        (str(page.relative_to(ROOT)), target)
        for page in documents()
        for target in re.findall(r"`make ([a-z-]+)", page.read_text())
    }
    assert not {(page, target) for page, target in mentioned if target not in targets}


def test_every_make_target_says_what_it_does() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = re.findall(r"^([a-z-]+):(.*)$", makefile, re.M)
    assert targets and all("## " in rest for _, rest in targets)
