"""A state whose runs are to be scheduled, and the home of its user."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from burst import cli


@dataclass
class ScheduleProject:
    home: Path
    directory: Path

    @property
    def state(self) -> Path:
        return self.directory / "re_render_state.json"

    @property
    def crontab(self) -> Path:
        return self.home / "crontab"

    @property
    def units(self) -> Path:
        return self.home / ".config/systemd/user"

    def schedule(self, *arguments: str, code: int = 0) -> Result:
        done = CliRunner().invoke(cli, ["schedule", "--state", str(self.state), *arguments])
        assert done.exit_code == code, done.output
        return done

    def json(self, *arguments: str) -> Any:
        return json.loads(self.schedule(*arguments, "--json").stdout)
