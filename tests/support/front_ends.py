"""The web front end over its own states and a sandbox, called over HTTP without a socket."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from orchestrator.sandbox import Sandbox
from orchestrator.settings import Overrides
from orchestrator.web.api_keys import ApiKeys
from orchestrator.web.app import create_app
from orchestrator.web.server import arguments_of, environment_of
from orchestrator.web.states import WatchedStates
from orchestrator.web.supervisor import Supervisor
from orchestrator.web.webhooks import Webhooks
from state.item import Item
from state.open_store import open_store, parts_of
from support.waiting import wait_until

ORIGIN = "http://127.0.0.1:8189"


@dataclass(frozen=True)
class Front:
    """A front end that only this test can call."""

    http: TestClient
    watched: WatchedStates
    supervisor: Supervisor
    states: tuple[Path, ...]
    output: Path

    def start(self, *, state: int = 0, **request: Any) -> dict[str, Any]:
        """Start a batch; the response, which must be a success."""
        answer = self.ask(state=state, **request)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def ask(self, *, state: int = 0, **request: Any) -> Any:
        body = {"batchRequest": {"prompt": "a fox", "batchCount": 2, **request}, "state": state}
        return self.http.post("/api/batches", json=body)

    def progress(self, batch: str) -> dict[str, Any]:
        answer = self.http.get(f"/api/batches/{batch}/progress")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def wait_for(self, batch: str, *statuses: str) -> dict[str, Any]:
        """Wait until the status is one of these; the progress then."""

        def look() -> dict[str, Any] | None:
            found = self.progress(batch)
            return found if found["progress"]["status"] in statuses else None

        found = wait_until(look, what=f"{batch} to be {statuses}")
        assert found is not None
        return found

    def items(self, number: int = 0) -> list[Item]:
        with open_store(self.states[number], read_only=True) as store:
            return list(store.items())

    def workflow_names(self, batch: str) -> set[str | None]:
        """Where the workflows of a batch's items came from."""
        recipes = parts_of(self.states[0]).recipes
        return {recipes.get(str(item.recipe)).workflow_name for item in self.items() if item.batch == batch}


@contextlib.contextmanager
def front(
    directory: Path,
    sandbox: Sandbox,
    *,
    template: str | None = "txt2img-sdxl",
    states: int = 1,
    works: bool = True,
    server: str | None = None,
    token: str | None = None,
    keys: ApiKeys | None = None,
    webhooks: Webhooks | None = None,
    state: Path | None = None,
) -> Iterator[Front]:
    """A front end. With `works` bursts are run; without it, queued items stay queued. `state`: instead of JSON ones."""
    paths = (state,) if state else tuple(directory / f"state{number}.json" for number in range(states))
    output = directory / "renders"
    said = Overrides(template=template, output_dir=output, servers=(server or sandbox.url,))
    watched = WatchedStates(paths, said)
    kind = Supervisor if works else Idle
    supervisor = kind(watched, arguments=arguments_of(said), environment=environment_of(said))
    app = create_app(watched, supervisor, token=token, keys=keys, webhooks=webhooks)
    with TestClient(app, base_url=ORIGIN, headers={"Origin": ORIGIN}, raise_server_exceptions=False) as http:
        yield Front(http, watched, supervisor, paths, output)


class Idle(Supervisor):
    """A supervisor that runs nothing."""

    def start(self) -> None:
        pass
