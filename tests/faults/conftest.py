"""What the tests of faults share: a sandbox, a proxy before it, a project, and bursts in this process."""

from __future__ import annotations

import pytest
from kills.conftest import make_project, proxy, sandbox
from support.burst_runs import Burst, SetTimes, run_quickly

from orchestrator.comfyui import ComfyUI
from orchestrator.comfyui import retrying as patience

__all__ = ["Burst", "SetTimes", "make_project", "proxy", "sandbox"]


@pytest.fixture(autouse=True)
def _own_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the environment says of proxies and certificates is not part of a test."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "requests_ca_bundle", "curl_ca_bundle"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same number of tries in less time."""
    monkeypatch.setattr(patience, "_FIRST_PAUSE_SECONDS", 0.02)


@pytest.fixture
def set_times(monkeypatch: pytest.MonkeyPatch) -> SetTimes:
    """Other defaults of the client: `set_times(retry_seconds=0.5)`."""

    def set_them(**seconds: float) -> None:
        for name, value in seconds.items():
            assert name in ComfyUI.__init__.__kwdefaults__
            monkeypatch.setitem(ComfyUI.__init__.__kwdefaults__, name, value)

    return set_them


@pytest.fixture
def burst() -> Burst:
    """`bursting.run_quickly`."""
    return run_quickly
