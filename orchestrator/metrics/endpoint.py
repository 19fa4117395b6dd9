"""A port of its own for Prometheus, where no other server of burst listens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from prometheus_client import CollectorRegistry, start_http_server

from orchestrator.errors import UsageError, located
from orchestrator.metrics.families import StateCollector


@contextmanager
def served(states: Sequence[Path], *, host: str, port: int) -> Iterator[int]:
    """The metrics of these states at http://HOST:PORT/metrics, within this context; the port, where 0 picks a free one.

    Whoever reaches the port may read them. Errors: UsageError where the port is taken.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(StateCollector(states))
    with located(f"{host}:{port}", OSError, into=UsageError):
        server, thread = start_http_server(port, addr=host, registry=registry)
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
