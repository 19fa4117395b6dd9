"""What is said of a pause, wherever runs, reports and pages meet one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.log_lines import local_time
from state.facts import Pause

if TYPE_CHECKING:
    from orchestrator.documents.states import PausedDocument

RESUME = "burst resume"


def text_of_pause(pause: Pause) -> str:
    """`runs have been paused since 2026-11-30 00:31:50; …`."""
    return f"runs have been paused {paused_since(pause)}"


def paused_since(pause: Pause) -> str:
    """`since 2026-11-30 00:31:50; …`."""
    return f"since {local_time(pause.at)}; continue with `{RESUME}`"


def pause_as_json(pause: Pause | None) -> PausedDocument | None:
    """`paused` of reports: None where nothing is paused."""
    return None if pause is None else {"since": pause.at.isoformat(), "free": pause.free}
