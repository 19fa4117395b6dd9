"""What only a person at a terminal sees: the bar, and the words of a rehearsal."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from click.testing import CliRunner

from burst import cli
from orchestrator.sandbox import Sandbox

ROOT = Path(__file__).parents[2]
DEADLINE_SECONDS = 60
TYPED_AGAIN_SECONDS = 2


@pytest.fixture
def prompts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two prompts, and one between them that is empty; the state is here."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "prompts"
    folder.mkdir()
    for name, text in (("a", "a fox"), ("b", ""), ("c", "a hare")):
        (folder / f"{name}.txt").write_text(text)
    assert CliRunner().invoke(cli, ["init", "prompts", "--template", "smoke"]).exit_code == 0
    return tmp_path


def _at_a_terminal() -> None:
    fcntl.ioctl(1, termios.TIOCSCTTY, 0)
    # A shell that starts the tests in the background has them ignore it.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def on_a_terminal(*arguments: str, cwd: Path, typed: bytes = b"", size: tuple[int, int] = (24, 100)) -> tuple[int, str]:
    """`burst ARGUMENTS` on a terminal of its own: its exit code, and all that it wrote there.

    `size`: its rows and columns. `typed`: what a person answers to its question; without it, standard input is empty.
    """
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, size)
    with subprocess.Popen(
        [sys.executable, "-m", "burst", *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm"},
        stdin=theirs if typed else subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=_at_a_terminal,
    ) as process:
        os.close(theirs)
        try:
            written = _conversation(ours, typed)
            os.close(ours)
            return process.wait(DEADLINE_SECONDS), written.decode()
        except BaseException:
            process.kill()
            raise


def _conversation(terminal: int, typed: bytes) -> bytes:
    """All that is written there. A key that interrupts is lost where it comes between the question and the reading of
    the answer, so a person types again after a while."""
    written, asked = b"", False
    # The kernel says EIO when the last one has closed it.
    with contextlib.suppress(OSError):
        while True:
            if asked and not select.select([terminal], [], [], TYPED_AGAIN_SECONDS)[0]:
                os.write(terminal, typed)
                continue
            piece = os.read(terminal, 4096)
            written += piece
            if typed and not asked and written.endswith(b"[y/N]: "):
                asked = True
                os.write(terminal, typed)
    return written


def test_a_burst_draws_a_bar_and_a_line_for_what_failed(prompts: Path) -> None:
    with Sandbox() as sandbox:
        code, written = on_a_terminal("run", "--server", sandbox.url, "--poll-interval", "0.2", cwd=prompts)
    assert code == 1, written
    assert "item/s" in written
    lines = [line.rpartition("\r")[2] for line in written.replace("\r\n", "\n").split("\n")]
    assert sum(line.startswith("prompts/b.txt failed: ") for line in lines) == 1
    assert not [line for line in lines if "prompts/a.txt →" in line]
    assert [line for line in lines if line.startswith("This burst: 2 completed, 1 failed")]


def test_a_terminal_of_no_size_has_lines_where_a_bar_would_draw_nothing(prompts: Path) -> None:
    with Sandbox() as sandbox:
        run = ("run", "--server", sandbox.url, "--poll-interval", "0.2")
        code, written = on_a_terminal(*run, cwd=prompts, size=(0, 0))
    assert code == 1, written
    assert "] prompts/a.txt → " in written
    assert "item/s" not in written


def test_a_terminal_shows_no_times_and_the_log_file_has_them(prompts: Path) -> None:
    with Sandbox() as sandbox:
        run = ("run", "--server", sandbox.url, "--poll-interval", "0.2", "--log-file", "burst.log")
        code, written = on_a_terminal(*run, "-n", "2", cwd=prompts)
        assert code == 1, written
        _, log_lines = on_a_terminal(*run, "-v", cwd=prompts)
    time = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ")
    assert "item/s" in written
    assert "burst: prompts/c.txt: submitted to " in log_lines
    assert "item/s" not in log_lines
    assert not time.search(written + log_lines)
    logged = (prompts / "burst.log").read_text().splitlines()
    assert all(time.match(line) for line in logged)
    assert any(" prompts/a.txt → " in line for line in logged)
    assert any(" prompts/b.txt failed: " in line for line in logged)
    assert any(" burst: prompts/c.txt: submitted to " in line for line in logged)


def test_a_rehearsal_says_what_would_be_sent_and_what_would_fail(prompts: Path) -> None:
    done = CliRunner().invoke(cli, ["run", "--dry-run"])
    assert done.exit_code == 0
    first, *lines = done.stdout.splitlines()
    assert first == "Would look up 0 submitted items and submit 2:"
    assert lines[:2] == ["  prompts/a.txt", "  prompts/c.txt"]
    assert lines[2].startswith("  would fail: prompts/b.txt: prompts/b.txt: the prompt text is empty")
    assert lines[3] == "First graph:"
    assert any("a fox" in line for line in lines[4:])


@pytest.mark.parametrize(
    ("typed", "code", "kind"),
    [(b"y\n", 0, None), (b"n\n", 2, "UsageError"), (b"\x03", 130, "Interrupted"), (b"\x04", 130, "Interrupted")],
    ids=["yes", "no", "ctrl-c", "ctrl-d"],
)
def test_reset_asks_a_person(prompts: Path, typed: bytes, code: int, kind: str | None) -> None:
    ended, written = on_a_terminal("reset", "--json", cwd=prompts, typed=typed)
    assert ended == code, written
    assert "Forget all progress of re_render_state.json? [y/N]" in written
    (said,) = (json.loads(line[line.index("{") :]) for line in written.splitlines() if "{" in line)
    if kind is None:
        assert said["schema"] == "burst.reset/2"
    else:
        assert (said["schema"], said["error"]["kind"], said["exit_code"]) == ("burst.error/1", kind, code)
