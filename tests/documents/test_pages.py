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


KNOWN_HOSTS = {
    *("cloud.comfy.org", "docs.comfy.org", "json-schema.org", "keepachangelog.com", "procrastinate.readthedocs.io"),
    *("www.standardwebhooks.com", "www.textualize.io", "www.w3.org"),
    *("github.com/caronc/apprise", "pypi.org/project/comfy-api-proxy"),
}
"""Where texts of ours may lead: to others, about what is theirs. No index, registry or host of code has burst."""
_EXAMPLE = re.compile(r"[^.]+|.+\.(test|example|lan|invalid|comfyui)|(.+\.)?example\.(com|org|net)|[\d.]+|.*[{$<…*].*")
"""Hosts that stand for the reader's own."""
_FROM_AN_INDEX = re.compile(
    r"(?:pip3?|pipx|uv|uvx|conda|mamba)\b[^`\n]*?(?:install|add|uvx|-U|--upgrade)[^`\n]*comfyui-burst(?!\[)"
    r"|(?:-U|--upgrade)[^`\n]*comfyui-burst|uvx [^`\n]*burst|comfy node install|docker pull [^`\n]*burst"
    r"|(?:registry\.comfy\.org|npmjs\.com|ghcr\.io|hub\.docker\.com|anaconda\.org)"
)
"""Commands and places that would need one; an extra of what is installed needs none."""


def texts_of_ours() -> list[Path]:
    """All that a reader or user sees: pages, packaging, deployments, messages in modules."""
    top = [ROOT / name for name in ("CHANGELOG.md", "CONTRIBUTING.md", "setup.cfg", "pyproject.toml", "mkdocs.yml")]
    rooms = [path for room in ("orchestrator", "state", "templates", "deploy") for path in (ROOT / room).rglob("*")]
    kinds = {".py", ".md", ".html", ".js", ".css", ".json", ".yaml", ".yml", ".toml", ".svg", ".cfg", ""}
    found = [path for path in rooms if path.suffix in kinds and path.is_file() and "__pycache__" not in path.parts]
    return [*pages(), *sorted(DOCS.rglob("*.svg")), *top, ROOT / "burst.py", *found]


def strange_links(text: str) -> list[str]:
    """Hosts, with two parts of the path where others are too, that are neither an example's nor known."""
    found = []
    for host, path in re.findall(r"https?://([^/\s\"'`)>\]:?#,;]+)(/[^\s\"'`)>\]?#,;]*)?", text):
        place = "/".join([host, *path.strip("/").split("/")[:2]]) if host in ("github.com", "pypi.org") else host
        if not (_EXAMPLE.fullmatch(host) or place in KNOWN_HOSTS or host.endswith(".run.comfy.app")):
            found.append(place)
    return [*found, *_FROM_AN_INDEX.findall(text)]


def test_no_text_leads_to_an_index_or_host_that_does_not_have_us() -> None:
    texts = texts_of_ours()
    assert len(texts) > 400
    strange = {str(path.relative_to(ROOT)): strange_links(path.read_text()) for path in texts}
    assert {path: links for path, links in strange.items() if links} == {}


@pytest.mark.parametrize(
    "text",
    [
        "[node](https://pypi.org/project/comfyui-burst/)",
        "see https://github.com/somebody/burst for more",
        "https://github.com/caronc",
        "url = https://burst.readthedocs.io",
        "https://registry.comfy.org/nodes/burst",
        "`pip install comfyui-burst`",
        "pip install -U 'comfyui-burst[fleet]'",
        "`pipx install comfyui-burst`",
        "uv tool install comfyui-burst",
        "uvx comfyui-burst demo",
        "image: ghcr.io/burst/burst",
        "comfy node install burst",
    ],
)
def test_such_a_link_is_found(text: str) -> None:
    assert strange_links(text)


@pytest.mark.parametrize(
    "text", ["pip install 'comfyui-burst[sql]'", "http://gpu1:8188/x", "http://10.0.0.7", "pip install ."]
)
def test_what_needs_no_index_is_none(text: str) -> None:
    assert strange_links(text) == []


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
