"""README and docs/: short, current, and every link of them leads somewhere."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import click
import pytest
from support.pages import DOCS, README, ROOT, pages

from burst import cli
from tests.documents.reference.errors_page import item_kinds
from tests.documents.reference.pages import PAGES, PLACE

MOST_README_BYTES = 9_000


def test_readme_is_short() -> None:
    assert len(README.read_bytes()) <= MOST_README_BYTES


@pytest.mark.parametrize("name", PAGES)
def test_what_is_made_from_the_code_is_current(name: str) -> None:
    assert (PLACE / name).read_text() == PAGES[name](), "run: python -m tests.documents.reference"


def test_every_command_and_option_is_in_the_reference() -> None:
    text = (PLACE / "commands.md").read_text()
    for path, command in _commands(cli, "burst"):
        section = text.partition(f"\n### {path}\n")[2].partition("\n### ")[0]
        assert section, path
        options = {max(option.opts, key=len) for option in command.params if not getattr(option, "hidden", False)}
        assert [option for option in options if option[:1] == "-" and option not in section] == []


def _commands(command: click.Command, path: str) -> list[tuple[str, click.Command]]:
    if not isinstance(command, click.Group):
        return [(path, command)]
    context = click.Context(command)
    found = [(name, command.get_command(context, name)) for name in command.list_commands(context)]
    return [one for name, inner in found if inner and not inner.hidden for one in _commands(inner, f"{path} {name}")]


def test_the_links_of_readme_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", README.read_text())
    assert len(links) > 20
    assert [link for link in links if not link.startswith("https://") and not (ROOT / link).exists()] == []


def test_every_kind_of_error_that_a_record_may_have_is_described() -> None:
    sources = [path.read_text() for room in ("orchestrator", "state") for path in (ROOT / room).rglob("*.py")]
    literal = {kind for source in sources for kind in re.findall(r'ErrorRecord\(\s*kind="(\w+)"', source)}
    classes = {
        kind for source in sources for kind in re.findall(r'Error\):\n(?:    .*\n|\n)*?    kind = "(\w+)"', source)
    }
    assert len(literal) >= 6
    assert (literal | classes) - item_kinds().keys() == set()


def test_no_page_links_to_a_package_index_that_does_not_have_us() -> None:
    named = [*pages(), ROOT / "orchestrator" / "comfyui_node" / "README.md", ROOT / "CHANGELOG.md"]
    assert [path for path in named if "pypi.org/project/comfyui-burst" in path.read_text()] == []


def test_the_site_can_be_built_and_every_link_and_anchor_is_valid(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = pytest.importorskip("mkdocs.config")
    from mkdocs.commands.build import build

    with caplog.at_level(logging.WARNING, "mkdocs"):
        build(config.load_config(str(ROOT / "mkdocs.yml"), site_dir=str(tmp_path / "site"), strict=False))
    assert caplog.messages == []
    assert (tmp_path / "site" / "index.html").exists()


def test_the_recorded_session_is_the_demo_of_today() -> None:
    """Each command and the verdict; that what stands between is printed so, tests/commands/test_demo.py sees."""
    shown = re.sub(r"<[^>]+>", "\n", (DOCS / "terminal.svg").read_text()).replace("&#160;", " ").splitlines()
    commands = [line.strip() for line in shown if line.startswith("$ ")]
    assert commands == ["$ burst run -n 8", "$ burst status", "$ burst run", "$ burst status --check"]
    assert "rendered 12, lost 0, rendered twice 0" in shown
    assert (DOCS / "terminal.svg").stat().st_size < 60_000
