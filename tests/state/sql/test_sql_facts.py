"""The facts of a SQL state are read on from where the last reading stopped."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.state_scenes import NOON
from support.stores import KINDS, State

from state.facts import ServerHealth
from state.sql.logs import SqlFactLog


def health(server: str, how: str = "well") -> ServerHealth:
    return ServerHealth(server=server, health=how, at=NOON)


@pytest.fixture(params=[kind for kind in KINDS if not kind.one_run], ids=lambda kind: kind.name)
def state(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[State]:
    with State(request.param, tmp_path) as state:
        yield state


def test_only_what_is_new_is_read(state: State) -> None:
    other = state.open(create=True).facts
    other.append(*[health(f"s{number}") for number in range(50)])
    log = state.parts().facts
    assert isinstance(log, SqlFactLog)
    decode, decoded = log._log._decode, []
    log._log._decode = lambda line: decoded.append(line) or decode(line)  # type: ignore[func-returns-value]
    assert len(log.read().health) == 50
    decoded.clear()
    for how in ("sick", "well", "sick"):
        other.append(health("s0", how))
        assert log.read().health["s0"].health == how
        assert log.read() == other.read()
    assert len(decoded) == 3


def test_what_was_not_noted_after_all_is_not_known(state: State) -> None:
    log = state.open(create=True).facts

    def broken(known: ServerHealth) -> ServerHealth:
        raise ZeroDivisionError

    log.append(health("a"))
    with pytest.raises(ZeroDivisionError):
        log.change_health("a", broken, at=NOON)
    log.append(health("b"))
    assert log.read() == state.parts().facts.read()
    assert log.read().health.keys() == {"a", "b"}
