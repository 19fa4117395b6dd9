"""Every command in README and docs/ is one that burst takes, and every block of shell commands runs.

A block that cannot be run here has the comment `<!-- not run: WHY -->` before it; its options are checked all the same.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from PIL import Image
from support.pages import DOCS, ROOT, Block, blocks, pages
from support.workbooks import workbook

from burst import cli
from orchestrator.sandbox import Sandbox, SandboxSettings

GENERATED = DOCS / "reference"
SHELL_WORDS = {"mkdir", "cp", "echo"}
"""What a block may hold besides `burst`."""
ENDS_A_COMMAND = {"--", "|", "||", "&&", "&", ";", ">", ">>", "2>", "</dev/null"}


def written_pages() -> list[Path]:
    return [page for page in pages() if GENERATED not in page.parents]


def commands_of(page: Path) -> Iterator[str]:
    """What begins with `burst` in blocks, crontabs and text."""
    text = page.read_text()
    for block in blocks(page):
        for line in re.sub(r"\\\n", " ", block.text).splitlines():
            code = re.sub(r"(^|\s)#.*", "", line)
            yield from re.findall(r"(?:^|[$;&]\s*|timeout \d+ |then )(burst [a-z].*)", code)
    without_blocks = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    yield from re.findall(r"`(burst [a-z][^`]*)`", without_blocks)


def words_of(command: str) -> list[str]:
    """The words up to what the shell reads as the end of the command."""
    words = shlex.split(command.replace("…", " ").replace(";", " ; "), comments=True)
    ends = [number for number, word in enumerate(words) if word in ENDS_A_COMMAND or word.startswith(">")]
    return words[: min(ends, default=len(words))]


def problems(command: str) -> list[str]:
    words = words_of(command.replace("\\|", "|"))[1:]
    known: list[click.Command] = [cli]
    while words and any(isinstance(one, click.Group) for one in known):
        name = words.pop(0)
        context = click.Context(cli)
        found = [
            one.get_command(context, part) for part in name.split("|") for one in known if isinstance(one, click.Group)
        ]
        if name[:1] == "-" or name.isupper():
            return []
        if not all(found):
            return [f"{command}: no command {name}"]
        known = [one for one in found if one]
    options = {flag for one in known for param in one.params for flag in param.opts} | {"--help", "-h", "--version"}
    given = [part for word in words if re.match(r"--?[a-z]", word) for part in re.split(r"[/|](?=-)", word)]
    return [
        f"{command}: no option {flag}"
        for flag in (one.split("=")[0].rstrip(".,:") for one in given)
        if flag not in options
    ]


@pytest.mark.parametrize("page", written_pages(), ids=lambda page: page.name)
def test_every_command_and_option_exists(page: Path) -> None:
    assert [problem for command in commands_of(page) for problem in problems(command)] == []


@pytest.mark.parametrize(
    "command", ["burst rnu", "burst run --itmes 4", "burst servers ad gpu1=URL", "burst servers add --lable x"]
)
def test_a_mistake_in_a_page_is_found(command: str) -> None:
    assert problems(command)


def runnable(page: Path) -> list[Block]:
    return [block for block in blocks(page, "sh") if block.not_run is None]


class Project:
    """A directory with whatever the pages name, and three servers; commands run in this process."""

    def __init__(self, home: Path, servers: Sequence[Sandbox]) -> None:
        self.home = home
        self.servers = [server.url for server in servers]
        self._names: dict[str, str] = {}
        self._put_workflows()
        self._put_lists()
        self._put_images()

    def give(self, name: str, template: str) -> None:
        """Put a shipped workflow in a file of the project."""
        shutil.copy(ROOT / "templates" / f"{template}.json", self.home / name)

    def _put_workflows(self) -> None:
        small = (ROOT / "templates/txt2img-sd15.json").read_text().replace("512", "64")
        for name in ("workflow_api", "workflow_v2", "old", "new"):
            (self.home / f"{name}.json").write_text(small)
        for name in ("upscale.json", "video.json"):
            self.give(name, "smoke-image")

    def _put_lists(self) -> None:
        for name in ("EP01/prompt_1", "EP01/prompt_2", "EP02/prompt_1"):
            path = self.home / "prompts" / f"{name}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"a picture of {name}\n")
        (self.home / "ideas.txt").write_text("a fox in the snow\na lighthouse\n")
        (self.home / "list.csv").write_text("prompt,steps\na fox,4\n")
        (self.home / "list.xlsx").write_bytes(workbook([["prompt", "remark"], ["an owl", "nice"]]))
        (self.home / "wildcards").mkdir()
        (self.home / "wildcards" / "animal.txt").write_text("fox\nowl\n")

    def _put_images(self) -> None:
        for number, name in enumerate("ab"):
            path = self.home / "photos" / f"{name}.png"
            path.parent.mkdir(exist_ok=True)
            Image.new("RGB", (16, 16), (40 * number, 20, 200)).save(path)

    def run(self, line: str) -> None:
        """Errors: AssertionError, with what was printed."""
        line = re.sub(r"http://[\w.]+:\d+", lambda found: self._server(found[0]), line)
        words = shlex.split(line, comments=True)
        if words[:1] == ["timeout"]:
            del words[:2]
        if not words:
            return
        if words[0] != "burst":
            assert words[0] in SHELL_WORDS, f"{line}: run it in a test, or write <!-- not run: WHY --> before its block"
            subprocess.run(["sh", "-c", line], cwd=self.home, check=True, timeout=30)
            return
        done = CliRunner().invoke(cli, words[1:])
        assert done.exit_code == 0, (line, done.output, done.exception)

    def _server(self, address: str) -> str:
        return self._names.setdefault(address, self.servers[len(self._names) % len(self.servers)])


BEFORE: Mapping[str, Sequence[str]] = {
    "batches.md": ["burst generate --prompt 'a fox' --template workflow_api.json"],
    "troubleshooting.md": ["burst init prompts --template workflow_api.json"],
    "backup.md": ["burst init prompts --template workflow_api.json"],
    "agents.md": ["burst init prompts --template workflow_api.json"],
    "servers.md": ["burst init prompts --template workflow_api.json", "burst run"],
    "many-hosts.md": ["burst init prompts --template workflow_api.json"],
    "workflows.md": [
        "burst generate --prompt 'a fox' --template old.json --queue-only",
        "burst init prompts --template workflow_api.json",
    ],
}
"""What a reader of the page has done before."""


@pytest.fixture(scope="module")
def servers() -> Iterator[list[Sandbox]]:
    with Sandbox(SandboxSettings()) as one, Sandbox(SandboxSettings()) as two, Sandbox(SandboxSettings()) as three:
        yield [one, two, three]


@pytest.fixture
def project(tmp_path: Path, servers: list[Sandbox], monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COMFYUI_URL", servers[0].url)
    return Project(tmp_path, servers)


@pytest.mark.parametrize("page", [page for page in written_pages() if runnable(page)], ids=lambda page: page.name)
def test_every_block_of_shell_commands_runs(page: Path, project: Project) -> None:
    if page.name == "images.md":
        project.give("workflow_api.json", "smoke-image")
    for line in BEFORE.get(page.name, ()):
        project.run(line)
    for block in runnable(page):
        for line in re.sub(r"\\\n", " ", block.text).splitlines():
            project.run(filled_in(line, project))


def filled_in(line: str, project: Project) -> str:
    """A line with the batch and the files of this project in place of those of the page."""
    if "20260201_101500_ab3k" in line:
        from orchestrator import list_batches

        line = line.replace("20260201_101500_ab3k", list_batches(Path("re_render_state.json")).batches[0].id)
    if "output/20261130_0745*" in line:
        files = sorted(project.home.glob("output/*/image_*.png"))[:2]
        line = re.sub(r"output/20261130_0745\S*", " ".join(map(str, files)), line)
    if "renders/20261121_164408/prompt_007.txt" in line:
        sidecar = next(iter(sorted(project.home.glob("output/*/prompt_*.txt"))))
        line = line.replace("renders/20261121_164408/prompt_007.txt", str(sidecar))
    return line
