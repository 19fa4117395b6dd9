"""No secret is in anything that burst writes: every command is run against a server that tells all it was told."""

from __future__ import annotations

import base64
import json
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

import pytest
import requests
from support.comfyui_loopback import Loopback, Request, closed_port
from support.projects import Ended, MakeProject, Process, Project, called
from support.waiting import wait_until

from orchestrator.sandbox import Sandbox

HEADERS = {
    "X-Flag-Key": "flag-7f3a9c51e2b8",
    "X-Environment-Key": "environment-0b6d24c8aa17",
    "X-Settings-Key": "settings-9e1f5d3c7b60",
    "X-Own-Key": "own-c42a8e6f19d5",
    "Cookie": "session=cookie-31d7a5e9f042; theme=dark",
}
USER, PASSWORD = "renderer", "pass/word@5b8e2c"
BASIC = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
SECRETS = [*(value for name, value in HEADERS.items() if name != "Cookie"), "cookie-31d7a5e9f042", PASSWORD, BASIC]
SPELLINGS = {spelling for secret in SECRETS for spelling in (secret, quote(secret, safe=""), json.dumps(secret)[1:-1])}

REFUSED_TEXT = "a lighthouse, view 2"


class Gossip(Loopback):
    """Stands before the sandbox, and puts all that it was sent into what it answers."""

    def __init__(self, sandbox: Sandbox) -> None:
        super().__init__(self._pass_on)
        self._sandbox = sandbox

    def told(self) -> str:
        """All that it was sent by way of headers, in any spelling that it may be shown in."""
        heads = "; ".join(f"{name}={value}" for name, value in self.requests[-1].headers.items())
        return f"you are {USER}:{PASSWORD} or {quote(PASSWORD, safe='')}, and sent {heads}"

    def _pass_on(self, request: Request) -> None:
        if request.method == "POST" and REFUSED_TEXT.encode() in request.body:
            fault = {"type": "x", "message": "no", "details": self.told(), "extra_info": {}}
            node = {"errors": [fault], "dependent_outputs": ["9"], "class_type": "CLIPTextEncode"}
            request.json({"error": fault, "node_errors": {"6": node}}, 400)
            return
        found = requests.request(request.method, self._sandbox.url + request.path, data=request.body, timeout=10)
        body = found.content
        if "/history/" in request.path:
            told = json.dumps(self.told())[1:-1].encode()
            body = body.replace(b"the sandbox was told to fail this prompt", told)
        request.reply(found.status_code, body, Content_Type=found.headers.get("Content-Type", ""))

    # Ways to answer that help nobody

    def refuse_access(self, request: Request) -> None:
        request.json({"error": self.told()}, 401)

    def redirect(self, request: Request) -> None:
        place = f"http://{USER}:{quote(PASSWORD, safe='')}@127.0.0.1:1/{HEADERS['X-Flag-Key']}?key={BASIC}"
        request.reply(302, self.told().encode(), Location=place)

    def fail(self, request: Request) -> None:
        request.reply(500, f"<pre>Traceback: {self.told()}</pre>".encode(), Content_Type="text/html")

    def push_back(self, request: Request) -> None:
        request.reply(429, self.told().encode(), Retry_After="0")

    def chat(self, request: Request) -> None:
        request.reply(200, f"<html>{self.told()}</html>".encode(), Content_Type="text/html")

    def cut(self, request: Request) -> None:
        request.reply(200, json.dumps({"exec_info": self.told()})[:-2].encode(), Content_Type="application/json")

    def reset(self, request: Request) -> None:
        request.reset()


class Written:
    """Runs commands of a project with all its secrets, and keeps what they print."""

    def __init__(self, project: Project, server: str) -> None:
        self._project = project
        self._server = server
        self.printed: list[str] = []
        places = {name: str(project.home / name.lower()) for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME")}
        for place in places.values():
            Path(place).mkdir(exist_ok=True)
        self._env = {**project.env(), **places}
        self._env |= {"SETTINGS_KEY": HEADERS["X-Settings-Key"], "OWN_KEY": HEADERS["X-Own-Key"]}

    def env(self, *, server: str | None = None) -> Mapping[str, str]:
        """With the password in the address, and headers of the environment."""
        address = (server or self._server).replace("http://", f"http://{USER}:{quote(PASSWORD, safe='')}@")
        headers = "\n".join(f"{name}: {HEADERS[name]}" for name in ("X-Environment-Key", "Cookie"))
        return {**self._env, "COMFYUI_URL": address, "COMFYUI_HEADERS": headers}

    def burst(self, *arguments: str, server: str | None = None) -> Ended:
        """`burst ARGUMENTS`; where the command takes it, with the header of the flag."""
        return self.note(called(self._given(arguments), cwd=self._project.home, env=self.env(server=server)))

    def start(self, *arguments: str, server: str | None = None, **variables: str) -> Process:
        """The same as a process."""
        env = {**self.env(server=server), **variables}
        return Process([sys.executable, "-m", "burst", *self._given(arguments)], cwd=self._project.home, env=env)

    def _given(self, arguments: Sequence[str]) -> list[str]:
        flag = ("--header", f"X-Flag-Key: {HEADERS['X-Flag-Key']}")
        takes_it = arguments[0] in ("run", "doctor", "cancel") or tuple(arguments[:2]) == ("template", "check")
        return [*arguments, *(flag if takes_it else ())]

    def plainly(self, *arguments: str) -> Ended:
        """Without any address or header of the environment."""
        return self.note(called(arguments, cwd=self._project.home, env=self._env))

    def script(self, text: str, *arguments: str) -> Ended:
        """A program that uses the library."""
        given = [sys.executable, "-c", text, str(self._project.state), *arguments]
        with Process(given, cwd=self._project.home, env=self.env()) as process:
            return self.note(process.end())

    def note(self, ended: Ended) -> Ended:
        self.printed += [ended.out, ended.err]
        return ended

    def found(self) -> list[str]:
        """Every place that holds a secret: what was printed, and all files below the project and beside its state."""
        texts = dict(enumerate(self.printed)) | {
            path: path.read_bytes().decode("latin-1") for path in self._project.home.rglob("*") if path.is_file()
        }
        return [f"{where}: {spelling}" for where, text in texts.items() for spelling in SPELLINGS if spelling in text]


@pytest.fixture
def gossip(sandbox: Sandbox) -> Iterator[Gossip]:
    with Gossip(sandbox) as server:
        yield server


@pytest.fixture
def written(make_project: MakeProject, gossip: Gossip) -> Iterator[Written]:
    """A project whose settings name two secrets of the environment; whatever a test does, nothing may be found."""
    project = make_project(server=gossip.url, count=6)
    written = Written(project, gossip.url)
    assert written.plainly("init", "prompts", "--header", "X-Settings-Key: env:SETTINGS_KEY").code == 0
    settings = project.folder / "settings.toml"
    settings.write_text(f'{settings.read_text()}\n[headers."{gossip.url}"]\nX-Own-Key = "env:OWN_KEY"\n')
    yield written
    assert written.found() == []


def test_the_grep_finds_what_is_there(written: Written) -> None:
    written.printed.append(f"password {quote(PASSWORD, safe='')}")
    assert len(written.found()) == 1
    written.printed.clear()


COMMANDS = (
    "doctor --json",
    "template check --server --json",
    "run --dry-run --json",
    "run --max-attempts 1 -n 3",
    "run --max-attempts 1 --json",
    "status",
    "status --json",
    "doctor",
    "verify --json",
    "retry --json",
    "run",
    "cancel --all --json",
    "template check --server",
)


def test_a_project_from_start_to_end(written: Written, gossip: Gossip, sandbox: Sandbox) -> None:
    sandbox.change(fail_next=1)
    for command in COMMANDS:
        written.burst(*command.split())
    everything = "\n".join(str(request.headers) for request in gossip.requests)
    assert all(value in everything for value in HEADERS.values())
    assert f"Basic {BASIC}" in everything
    shown = "\n".join(written.printed)
    assert shown.count("you are renderer:***") >= 4  # the failed item and the refused one, in words and in JSON
    assert '"completed": 4' in shown


UNQUOTED = ("init", "run", "doctor", "cancel")


def test_secrets_that_would_be_remembered_are_refused(written: Written, gossip: Gossip) -> None:
    refused = [
        written.plainly("init", "prompts", "--header", f"X-Flag-Key: {HEADERS['X-Flag-Key']}"),
        written.plainly("init", "prompts", "--header", HEADERS["X-Flag-Key"]),
        written.plainly("init", "prompts", "--server", written.env()["COMFYUI_URL"]),
        written.plainly("init", "prompts", "--server", f"http://{USER}:{PASSWORD}@127.0.0.1:1"),
        written.plainly("run", "--server", f"http://{USER}:{PASSWORD}@127.0.0.1:1", "--json"),
        written.plainly("run", "--server", written.env()["COMFYUI_URL"] + "?key=x", "--json"),
        written.plainly("run", "--header", f"X-Flag-Key: {HEADERS['X-Flag-Key']}\x07"),
        # A header without the quotes that it needs.
        *(written.plainly(command, "--header", "X-Flag-Key:", HEADERS["X-Flag-Key"]) for command in UNQUOTED),
        written.plainly("template", "check", "--header", "X-Flag-Key:", HEADERS["X-Flag-Key"], "--json"),
        written.burst("init", "prompts"),
    ]
    assert [ended.code for ended in refused] == [2] * len(refused)


@pytest.mark.parametrize("how", ["refuse_access", "redirect", "fail", "push_back", "chat", "cut", "reset"])
def test_a_server_that_is_of_no_use(written: Written, gossip: Gossip, how: str) -> None:
    gossip.answer = getattr(gossip, how)
    for arguments in (["--max-seconds", "0.6"], ["--max-seconds", "0.6", "--json"]):
        ended = written.burst("run", *arguments)
        assert ended.code != 0 or "time limit" in ended.out or '"deadline"' in ended.out
    written.burst("status")
    if how in ("refuse_access", "redirect", "chat"):
        written.burst("doctor", "--json")
        written.burst("template", "check", "--server")


def test_a_server_that_turns_bad_in_mid_burst(written: Written, gossip: Gossip, sandbox: Sandbox) -> None:
    sandbox.hold("render")
    with written.start("run", "--json", "--max-seconds", "3") as run:
        wait_until(lambda: sandbox.counts()["posts"] >= 5)
        gossip.answer = gossip.refuse_access
        written.note(run.end())
    written.burst("cancel", "--all")
    written.burst("doctor")


def test_nobody_there(written: Written) -> None:
    with closed_port() as port:
        away = f"http://127.0.0.1:{port}"
        assert written.burst("run", "--wait-server", "0", server=away).code == 75
        assert written.burst("run", "--wait-server", "0", "--json", server=away).code == 75
        written.burst("doctor", server=away)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGABRT])
def test_a_burst_that_is_killed_in_the_middle(written: Written, sandbox: Sandbox, number: signal.Signals) -> None:
    """At SIGABRT Python prints where every thread is."""
    sandbox.hold("render")
    with written.start("run", PYTHONFAULTHANDLER="1") as run:
        wait_until(lambda: sandbox.counts()["posts"] >= 5)
        ended = written.note(run.stop(number))
    assert ended.code == 128 + number
    if number == signal.SIGABRT:
        assert 'File "' in ended.err
    sandbox.release()
    written.burst("status", "--json")
    assert written.burst("run", "--json").report["recovered"] >= 5


CRASH = """
import logging, sys
logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)
from orchestrator import run_burst
from orchestrator.cycle.progress import Silent

class Broken(Silent):
    def ended(self, item, *, number, size):
        raise RuntimeError("the caller's own fault")

header = dict([sys.argv[2].split(": ")])
run_burst(sys.argv[1], headers=header, progress=Broken(), poll_seconds=0.2)
"""


def test_a_crash_with_everything_logged(written: Written) -> None:
    ended = written.script(CRASH, f"X-Flag-Key: {HEADERS['X-Flag-Key']}")
    assert ended.code == 1
    assert "RuntimeError: the caller's own fault" in ended.err
    assert "DEBUG:urllib3" in ended.err
