"""Figures for Prometheus, of all states."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import PlainTextResponse

from orchestrator.clock import Clock
from orchestrator.errors import StateError
from orchestrator.web.states import WatchedStates

if TYPE_CHECKING:
    from orchestrator.metrics.families import StateCollector
    from orchestrator.metrics.figures import Figures
    from orchestrator.metrics.totals import Totals

router = APIRouter(tags=["metrics"])


class MetricsText:
    """Any thread may ask. Nothing is loaded before somebody does."""

    def __init__(self, watched: WatchedStates) -> None:
        self._watched = {state.path: state for state in watched.states}
        self._mutex = threading.Lock()
        self._collector: StateCollector | None = None

    def read(self) -> str:
        from orchestrator.metrics.families import StateCollector, text_of

        with self._mutex:
            if self._collector is None:
                self._collector = StateCollector(list(self._watched), read=self._figures)
        return text_of(self._collector)

    def _figures(self, path: Path, totals: Totals) -> Figures:
        from orchestrator.metrics.figures import figures_of

        state = self._watched[path]
        state.refresh()
        if state.store is None:
            raise StateError(path, "there is no state yet")
        return figures_of(state.store, totals, now=Clock().now())


async def _metrics_of(request: Request) -> MetricsText:
    found: MetricsText = request.app.state.metrics
    return found


@router.get("/metrics", operation_id="getMetrics", response_class=PlainTextResponse)
def metrics(figures: Annotated[MetricsText, Depends(_metrics_of)]) -> PlainTextResponse:
    """Items by status, runs, times and bytes of every state, in Prometheus' text format. Read at most once a second."""
    return PlainTextResponse(figures.read(), media_type="text/plain; version=0.0.4; charset=utf-8")
