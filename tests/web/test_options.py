"""What the form offers, and for how long what a server said is held to be so."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.clock import Clock
from orchestrator.sandbox import Sandbox
from orchestrator.settings import Overrides
from orchestrator.web.error_responses import Refused
from orchestrator.web.form_options import FormOptions
from orchestrator.web.states import WatchedState, WatchedStates


class Moved(Clock):
    """Stands still until it is moved."""

    seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as running:
        yield running


def state(directory: Path, *, server: str, number: int = 0) -> WatchedState:
    said = Overrides(template="txt2img-sdxl", servers=(server,))
    found = WatchedStates([directory / f"state{number}.json"], said).states[0]
    found.number = number
    return found


def asked(sandbox: Sandbox) -> int:
    count: int = sandbox.counts()["requests"].get("GET /prompt", 0)
    return count


def test_what_a_server_said_holds_for_five_seconds(tmp_path: Path, sandbox: Sandbox) -> None:
    clock, one = Moved(), state(tmp_path, server=sandbox.url)
    watched = FormOptions(clock)
    first = watched.of(one, None)
    assert first.server.reachable
    assert first.models
    for seconds, count in ((4.9, 1), (5.1, 2)):
        clock.seconds = seconds
        assert watched.of(one, None) == first
        assert asked(sandbox) == count


def test_each_template_and_each_state_has_its_own(tmp_path: Path, sandbox: Sandbox) -> None:
    watched = FormOptions(Moved())
    with Sandbox() as other:
        one, two = state(tmp_path, server=sandbox.url), state(tmp_path, server=other.url, number=1)
        assert watched.of(one, None).template == "txt2img-sdxl"
        assert watched.of(one, "txt2img-sd15").template == "txt2img-sd15"
        assert watched.of(one, "txt2img-sd15").defaults["model"] != watched.of(one, None).defaults["model"]
        assert asked(other) == 0
        watched.of(two, None)
        assert (asked(sandbox), asked(other)) == (2, 1)


def test_that_a_server_is_away_is_said_soon_and_asked_anew_soon(tmp_path: Path) -> None:
    clock = Moved()
    watched, away = FormOptions(clock), state(tmp_path, server="http://127.0.0.1:9")
    began = time.monotonic()
    found = watched.of(away, None)
    assert time.monotonic() - began < 12, "a burst would ask for 20 s"
    assert not found.server.reachable
    assert str(found.server.message).startswith("Cannot connect to server")
    assert found.takes
    assert found.templates
    assert watched.of(away, None) is found
    clock.seconds = 0.6
    assert watched.of(away, None) is not found


def test_a_template_that_is_not_offered_is_refused(tmp_path: Path, sandbox: Sandbox) -> None:
    one = state(tmp_path, server=sandbox.url)
    (tmp_path / "mine.json").write_text("{}")
    for name in ("mine.json", str(tmp_path / "mine.json"), "../txt2img-sdxl", "txt2img-sdxl.json", ""):
        with pytest.raises(Refused) as refused:
            FormOptions().of(one, name)
        assert (refused.value.status, refused.value.field) == (400, "template")
    assert asked(sandbox) == 0
