"""A real ComfyUI's own queue becomes items: collected where it renders, submitted again where it was lost."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import requests
from support.real_graphs import new_seeds, slow
from support.real_scene import Scene

from state.item import Status


def post(url: str, graph: dict[str, Any], seed: int) -> str:
    """As ComfyUI's page does it; returns the prompt_id."""
    own = copy.deepcopy(graph)
    own["2"]["inputs"]["seed"] = seed
    body = {"prompt": own, "client_id": "page", "extra_data": {"api_key_comfy_org": "comfyui-0123456789"}}
    answer = requests.post(f"{url}/prompt", json=body, timeout=30)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["prompt_id"])


@pytest.mark.parametrize("lost", [False, True], ids=["rendered", "taken out of the queue"])
def test_what_waits_is_collected_or_submitted_again(scene: Scene, server_url: str, lost: bool) -> None:
    ids = [post(server_url, slow(blurs=4, size=1024), given["seed"]) for given in new_seeds(4)]
    adopted = scene.say("adopt", "--server", server_url, "--output", str(scene.output))
    assert adopted.code == 0, adopted.words
    assert [key.partition("/")[2] for key in adopted.report["items"]] == ids
    assert adopted.report["recipes"] == 1
    assert scene.say("adopt", "--server", server_url).report["known"] == 4
    if lost:
        requests.post(f"{server_url}/queue", json={"delete": ids[2:]}, timeout=30)
    said = scene.run(server_url, "-n", "4")
    assert said.code == 0, said.words
    assert scene.counts() == {Status.COMPLETED: 4}
    kept = {item.prompt_id for item in scene.items().values()} & set(ids)
    assert len(kept) == (2 if lost else 4)
    assert sorted(path.stem for path in scene.pictures()) == sorted(ids)
    assert not any("comfyui-0123456789" in path.read_text() for path in scene.directory.rglob("*.json*"))
