"""The Python that workers of xdist are: imported once, and forked for each."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import fork_server
from support.preloaded import preloaded_python
from support.waiting import wait_until

LOOK = """
import os, sys, threading
print(os.getpid(), os.getcwd(), os.environ["SEEN"], sys.stdin.readline().strip(), threading.active_count())
print("test_preloaded" in sys.modules, "PytestPluginManager" in repr(type(sys.modules.get("_pytest.config"))))
print("told", file=sys.stderr)
"""


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_each_is_a_fork_with_streams_a_directory_and_an_environment_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(fork_server.PRELOADED, raising=False)
    pids = set()
    with preloaded_python([__file__]) as python:
        assert Path(os.environ[fork_server.PRELOADED]).is_socket()
        for number in "12":
            ended = subprocess.run(
                [*python, "-u", "-c", LOOK],
                input=f"line {number}\n",
                cwd=tmp_path,
                env={**os.environ, "SEEN": number},
                capture_output=True,
                text=True,
                check=True,
            )
            pid, *seen = ended.stdout.splitlines()[0].split()
            pids.add(pid)
            assert seen == [str(tmp_path), number, "line", number, "1"]
            assert ended.stdout.splitlines()[1].startswith("True")
            assert ended.stderr == "told\n"
    assert len(pids) == 2
    assert fork_server.PRELOADED not in os.environ


def test_they_end_with_the_process_that_started_them(tmp_path: Path) -> None:
    """However it ends: a worker is told by its streams, the others by a pipe."""
    program = f"""
import os, signal, subprocess, sys
sys.path[:0] = {sys.path!r}
from support.preloaded import preloaded_python
with preloaded_python([{str(tmp_path)!r}]) as python:
    waiting = "import os, sys; print(os.getpid(), os.getppid(), flush=True); sys.stdin.read()"
    worker = subprocess.Popen([*python, "-c", waiting], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    print(worker.stdout.readline(), end="", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    killed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    pids = killed.stdout.split()
    assert len(pids) == 2, killed.stderr
    for pid in pids:
        wait_until(lambda pid=pid: not Path(f"/proc/{pid}").exists(), what=f"process {pid} is over")
