"""The simulation of many servers on one state: every server has its share, and no item waits for long."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks.many_servers import Farm


@pytest.mark.parametrize("servers", [1, 8])
def test_servers_are_busy_and_items_keep_their_turn(tmp_path: Path, servers: int) -> None:
    """With two prompts for each server, none waits while there is work, however fast it is."""
    figures = Farm(f"sqlite:///{tmp_path}/state.db", servers=servers, items=80 // servers, window=2).run()
    assert figures["busy share of a server, least"] > 0.9
    assert figures["of what the servers can do"] > 0.9
    assert figures["places that an item was overtaken by, most"] <= 2 * servers
