"""How a burst that is started as a process is told what its starter was told: arguments, and what none may show."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from orchestrator.places import real_root
from orchestrator.settings import HEADERS_VARIABLE, Overrides
from state.location import DatabaseAddress


def arguments_of(overrides: Overrides) -> list[str]:
    """What a burst is told by flags of what its starter was told; not headers, which others could read there."""
    said = [("--server", server) for server in overrides.servers]
    said += [("--bind", f"{name}={address}") for name, address in overrides.bindings.items()]
    if overrides.output_dir is not None:
        said.append(("--output", real_root(overrides.output_dir)))
    return [word for pair in said for word in pair]


def environment_of(overrides: Overrides) -> dict[str, str]:
    """The environment of a burst: this one, with the headers that were said here."""
    said = [os.environ[HEADERS_VARIABLE]] if os.environ.get(HEADERS_VARIABLE) else []
    said += [f"{name}: {value}" for name, value in overrides.headers.items()]
    return {**os.environ, HEADERS_VARIABLE: "\n".join(said)} if said else dict(os.environ)


def state_of(path: Path) -> tuple[Sequence[str], Mapping[str, str]]:
    """How a burst is told its state: arguments and environment. Everybody on the host can read arguments."""
    if isinstance(path, DatabaseAddress):
        return (), {"BURST_STATE": path.url}
    return ("--state", str(path)), {}
