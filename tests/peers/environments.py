"""An environment of its own for each client, from PyPI or npm by name and version, and how its driver is run."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.peers import HERE, ROOT
from tests.peers.catalogue import Client

DRIVERS = HERE / "drivers"
_INSTALL_SECONDS = 600


class CannotInstall(Exception):
    """A client that the registries do not give; the message has the last line of the installer."""


def install(client: Client, place: Path) -> Path:
    """The client's environment below `place`, made if it is not there. Errors: CannotInstall."""
    home = place / client.driver.partition(".")[0]
    done = home / "installed.txt"
    if client.packages and not (done.exists() and done.read_text() == "\n".join(client.packages)):
        home.mkdir(parents=True, exist_ok=True)
        if client.is_npm:
            _run(["npm", "install", "--no-audit", "--no-fund", "--silent", *client.packages], cwd=home)
        else:
            venv.create(home)
            pip = [sys.executable, "-m", "pip", "--python", str(home / "bin" / "python")]
            _run([*pip, "install", "-q", *client.packages], cwd=home)
        done.write_text("\n".join(client.packages))
    return home


def command(client: Client, home: Path) -> list[str]:
    """Runs the driver over what is left of the job in the current directory; the server's address comes last."""
    driver = DRIVERS / client.driver
    if client.is_npm:
        return ["node", str(driver)]
    if driver.suffix == ".sh":
        return ["sh", str(driver)]
    interpreter = home / "bin" / "python" if client.packages else Path(sys.executable)
    return [str(interpreter), str(driver)]


def environment(client: Client, home: Path) -> Mapping[str, str]:
    """Nothing of the caller's settings; no telemetry; each client's programs first on the path, and its own home."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("BURST_", "COMFYUI_"))}
    programs = home / "bin" if client.packages else Path(sys.executable).parent
    mine = {"PATH": f"{programs}:{os.environ['PATH']}", "DO_NOT_TRACK": "1", "PYTHONUNBUFFERED": "1"}
    if client.packages:
        mine["HOME"] = str(home)
    if client.is_npm:
        mine["CLIENT_MODULES"] = str(home / "node_modules")
    if not client.packages:
        mine["PYTHONPATH"] = str(ROOT)
    return {**kept, **mine}


def _run(arguments: Sequence[str], *, cwd: Path) -> None:
    done = subprocess.run(arguments, cwd=cwd, capture_output=True, text=True, timeout=_INSTALL_SECONDS, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise CannotInstall(next((line for line in reversed(said) if "ERROR" in line or "error" in line), said[-1]))
