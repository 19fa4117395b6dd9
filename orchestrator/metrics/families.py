"""The metrics by name, for `prometheus_client`, which writes them as text."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import get_args

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily
from prometheus_client.registry import Collector

from orchestrator.clock import Clock
from orchestrator.errors import StateError, StopBurst, UsageError, located
from orchestrator.metrics.figures import Figures, read_figures
from orchestrator.metrics.kept_totals import keep, kept_totals
from orchestrator.metrics.totals import Totals
from orchestrator.replacing import replace_text
from state.burst_record import Ending
from state.location import Location

_FRESH_SECONDS = 1.0
_ENDINGS = get_args(Ending)


class StateCollector(Collector):
    """Metrics of states, read anew at most once a second, however many ask. Any thread may ask.

    A state that cannot be read has `burst_state_readable` 0 and nothing else.
    """

    def __init__(
        self,
        states: Sequence[Path],
        *,
        read: Callable[[Path, Totals], Figures] = read_figures,
        clock: Clock | None = None,
    ) -> None:
        self._states = states
        self._read = read
        self._clock = clock or Clock()
        self._totals = {state: Totals() for state in states}
        self._mutex = threading.Lock()
        self._kept: tuple[float, list[Metric]] | None = None

    def collect(self) -> Iterable[Metric]:
        with self._mutex:
            if self._kept is None or self._clock.monotonic() >= self._kept[0]:
                found = list(families([self._look(state) for state in self._states]))
                self._kept = self._clock.monotonic() + _FRESH_SECONDS, found
            return self._kept[1]

    def _look(self, state: Path) -> Figures | str:
        try:
            return self._read(state, self._totals[state])
        except (StateError, StopBurst, OSError):
            return Location.of(state).shown()


def text_of(collector: Collector) -> str:
    """In Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    return generate_latest(registry).decode()


def text_of_state(state: Path, *, clock: Clock | None = None) -> str:
    """The same of one state; reads the bursts since the last call. Errors: StateError, StateAway."""
    location = Location.of(state)
    totals = kept_totals(location)
    figures = read_figures(state, totals, clock=clock)
    keep(totals, location)

    class Once(Collector):
        def collect(self) -> Iterable[Metric]:
            return families([figures])

    return text_of(Once())


def write_textfile(path: Path, text: str) -> None:
    """Replace the file, which the node exporter may read at any time. Errors: UsageError."""
    with located(path, OSError, into=UsageError):
        replace_text(path, text, mode=0o644)


def families(states: Sequence[Figures | str]) -> Iterator[Metric]:
    """`states`: what is known of each, or the address of one that cannot be read."""
    known = [one for one in states if isinstance(one, Figures)]
    readable = GaugeMetricFamily("burst_state_readable", "1 if the state can be read, otherwise 0.", labels=["state"])
    for one in states:
        readable.add_metric([one if isinstance(one, str) else one.state], float(not isinstance(one, str)))
    yield readable
    yield from _gauges(known)
    yield from _counters(known)


def _gauges(known: Sequence[Figures]) -> Iterator[Metric]:
    items = GaugeMetricFamily("burst_items", "Items of the state by status.", labels=["state", "status"])
    for one in known:
        for status, count in one.counts.items():
            items.add_metric([one.state, status.value], count)
    yield items
    yield _gauge("burst_runs_at_work", "Runs that work on the state now.", known, lambda one: one.at_work)
    yield _gauge("burst_paused", "1 while runs are paused, otherwise 0.", known, lambda one: float(one.paused))
    yield _gauge(
        "burst_oldest_submitted_seconds",
        "Time since the oldest submitted item was sent to its server; 0 if none is submitted.",
        known,
        lambda one: one.oldest_submitted_seconds or 0.0,
    )
    yield _gauge(
        "burst_oldest_batch_seconds",
        "Time since the oldest batch with remaining items was requested; 0 if there is none.",
        known,
        lambda one: one.oldest_batch_seconds or 0.0,
    )
    yield _gauge(
        "burst_last_completed_timestamp_seconds",
        "When the last burst ended in which an item was completed, in seconds since 1970; 0 if there was none.",
        known,
        lambda one: one.totals.last_completed_at.timestamp() if one.totals.last_completed_at else 0.0,
    )


def _counters(known: Sequence[Figures]) -> Iterator[Metric]:
    yield _by_ending("burst_runs", "Runs (processes) that have ended, by ending.", known, lambda one: one.runs)
    yield _by_ending("burst_bursts", "Bursts that have ended, by ending.", known, lambda one: one.totals.bursts)
    for name, text, value in _TOTALS:
        yield _filled(CounterMetricFamily(name, text, labels=["state"]), known, value)
    busy = CounterMetricFamily(
        "burst_server_busy_seconds",
        "Time in which a server rendered items that were completed. Its rate is the server's busy share.",
        labels=["state", "server"],
    )
    for one in known:
        for server, seconds in sorted(one.totals.server_seconds.items()):
            busy.add_metric([one.state, server], seconds)
    yield busy
    render = SummaryMetricFamily("burst_item_render_seconds", "What an item took on its server.", labels=["state"])
    checkpoint = SummaryMetricFamily(
        "burst_checkpoint_seconds", "What a checkpoint took: the durable write after an item.", labels=["state"]
    )
    for one in known:
        totals = one.totals
        render.add_metric([one.state], totals.timed, sum(totals.server_seconds.values()))
        checkpoint.add_metric([one.state], totals.checkpoints, totals.checkpoint_seconds)
    yield render
    yield checkpoint


_TOTALS: tuple[tuple[str, str, Callable[[Figures], float]], ...] = (
    ("burst_items_completed", "Items that bursts completed.", lambda one: one.totals.completed),
    ("burst_items_failed", "Items that bursts gave up.", lambda one: one.totals.failed),
    ("burst_items_recovered", "Items taken over from an earlier burst.", lambda one: one.totals.recovered),
    (
        "burst_retries",
        "Attempts that made nothing, after which the item was due again.",
        lambda one: one.totals.retries,
    ),
    (
        "burst_rendered_twice",
        "Prompts rendered although they had been given up.",
        lambda one: one.totals.rendered_twice,
    ),
    (
        "burst_possibly_twice",
        "Items due again although a server may have rendered them.",
        lambda one: one.totals.possibly_twice,
    ),
    ("burst_output_bytes", "Size of the outputs of completed items.", lambda one: one.totals.bytes),
    ("burst_seconds", "Time that bursts took, together.", lambda one: one.totals.burst_seconds),
)


def _gauge(name: str, text: str, known: Sequence[Figures], value: Callable[[Figures], float]) -> Metric:
    return _filled(GaugeMetricFamily(name, text, labels=["state"]), known, value)


def _filled(
    family: GaugeMetricFamily | CounterMetricFamily, known: Sequence[Figures], value: Callable[[Figures], float]
) -> Metric:
    for one in known:
        family.add_metric([one.state], value(one))
    return family


def _by_ending(name: str, text: str, known: Sequence[Figures], value: Callable[[Figures], dict[str, int]]) -> Metric:
    """Every ending from the beginning, so that its first one shows in a rate."""
    family = CounterMetricFamily(name, text, labels=["state", "ending"])
    for one in known:
        counted = value(one)
        for ending in _ENDINGS:
            family.add_metric([one.state, ending], counted.get(ending, 0))
    return family
