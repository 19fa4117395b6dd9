"""A project with difficult names, and a home in which a stub of `crontab` and one of `systemctl` note what they get."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
from support.schedule_project import ScheduleProject

_STUBS = {
    "crontab": """
case $1 in
-l) [ -f "$HOME/crontab" ] || { echo "no crontab for me" >&2; exit 1; }; cat "$HOME/crontab";;
-) cat >"$HOME/crontab";;
esac
""",
    "systemctl": 'echo "$@" >>"$HOME/systemctl"\n',
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ScheduleProject:
    for name in [name for name in os.environ if name.startswith(("BURST_", "COMFYUI_", "PG", "AWS_", "XDG_"))]:
        monkeypatch.delenv(name)
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    home, directory = tmp_path / "home", tmp_path / 'a b\'s "50%" $HOME'
    commands = home / "bin"
    commands.mkdir(parents=True)
    directory.mkdir()
    for name, script in _STUBS.items():
        (commands / name).write_text(f"#!/bin/sh\n{script}")
        (commands / name).chmod(stat.S_IRWXU)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")
    (directory / "cat.txt").write_text("a cat")
    record = {"status": "pending", "filename": "cat.txt"}
    (directory / "re_render_state.json").write_text(json.dumps({str(directory / "cat.txt"): record}))
    return ScheduleProject(home, directory)
