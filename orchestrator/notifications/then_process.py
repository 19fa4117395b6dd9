"""The process that runs this host's commands for batches that are done. Started by a run, which it outlives."""

from __future__ import annotations

import os

from orchestrator.clock import Clock
from orchestrator.host_config import load_host_config
from orchestrator.notifications.then_commands import STATE_VARIABLE, ThenCommands
from state.location import state_path
from state.open_store import open_store


def main() -> None:
    clock = Clock()
    with open_store(state_path(os.environ.pop(STATE_VARIABLE)), clock=clock) as store:
        ThenCommands(store, load_host_config().then, clock=clock).work_off()


if __name__ == "__main__":
    main()
