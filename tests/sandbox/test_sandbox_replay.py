"""Every recorded exchange of real ComfyUI servers, played against a fresh sandbox of that version in its order.

Compared: status, headers, JSON (equal but for what is named below), and the websocket messages of each prompt in order.
Looked at leniently: `status` broadcasts, whose moment depends on the server's threads, are only checked for their form.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
from support.recorded import CLIENT, HEADERS, OF_ANY_VALUE, RECORDINGS, differences
from support.replay import Replay
from support.sandbox_client import Client, Listener

from orchestrator.sandbox import Sandbox, SandboxSettings

WITH_ASSETS = (
    "submit where assets are kept",
    "history success, outputs with assets",
    "job with assets",
    "upload image, with assets",
)
"""Of a server that was started with `--enable-assets`; the sandbox keeps none."""
FIRST_NUMBER = {"0.3.64": 18, "0.33.0": 0}
"""Of the first prompt that was recorded."""
SLOW_FILES = {"0.3.64": 2, "0.33.0": 0}
"""How many files of the slow prompts there were already."""
CHECKPOINTS = {"0.3.64": ("tiny-random.safetensors",), "0.33.0": ()}
OF_ANY_VALUE_IN = {
    "system_stats": {"system", "devices"},
    "submit server-chosen prompt_id": {"prompt_id"},
    "submit prompt_id that is null": {"prompt_id"},
}
_TEMPORARY = re.compile(r"ComfyUI_temp_[a-z]{5}_")


@dataclass
class Played:
    """What the sandbox answered and told."""

    replay: Replay
    listener: Listener


def cases_of(version: str) -> dict[str, Any]:
    return {name: case for name, case in RECORDINGS[version].items() if name not in WITH_ASSETS}


def of_kind(kind: str) -> list[Any]:
    return [
        pytest.param(version, name, id=f"{version} {name}")
        for version in RECORDINGS
        for name, case in cases_of(version).items()
        if kind in case
    ]


def play(version: str) -> Played:
    settings = SandboxSettings(comfyui_version=version, checkpoints=CHECKPOINTS[version], loras=())
    with Sandbox(settings) as sandbox, Listener(sandbox.url, CLIENT) as listener, Client(sandbox.url) as client:
        for _ in range(FIRST_NUMBER[version]):
            client.post("/prompt", {})
        folder = sandbox.output_directory / "burst"
        folder.mkdir()
        for number in range(SLOW_FILES[version]):
            (folder / f"slow_{number + 1:05}_.png").touch()
        picture = (sandbox.input_directory / "example.png").read_bytes()
        replay = Replay(
            client,
            listener,
            cases_of(version),
            picture=picture,
            pace=lambda seconds: sandbox.change(seconds_per_prompt=seconds),
        )
        replay.play()
        return Played(replay, listener)


@pytest.fixture(scope="module")
def played() -> Callable[[str], Played]:
    """By version; each is played once."""
    return cache(play)


def without_chance(value: Any) -> Any:
    """Without the letters that a server draws for a name."""
    if isinstance(value, dict):
        return {key: without_chance(each) for key, each in value.items()}
    if isinstance(value, list):
        return [without_chance(each) for each in value]
    return _TEMPORARY.sub("ComfyUI_temp_*_", value) if isinstance(value, str) else value


def unlike(wanted: Any, found: Any, *, name: str = "") -> list[str]:
    free = OF_ANY_VALUE | OF_ANY_VALUE_IN.get(name, set())
    return differences(without_chance(wanted), without_chance(found), free=free)


@pytest.mark.parametrize(("version", "name"), of_kind("response"))
def test_answers_as_recorded(played: Callable[[str], Played], version: str, name: str) -> None:
    wanted, found = RECORDINGS[version][name]["response"], played(version).replay.answers[name]
    assert found.status_code == wanted["status"]
    headers = {header: found.headers[header] for header in HEADERS if header in found.headers}
    assert headers.keys() == wanted["headers"].keys()
    for header, value in wanted["headers"].items():
        if header != "Content-Length" or value == "0":
            assert headers[header] == value
    body = wanted["body"]
    if isinstance(body, str) and re.fullmatch(r"<\d+ bytes>", body):
        assert len(found.content) == int(headers["Content-Length"]) > 0
    elif body == "":
        assert found.content == b""
    else:
        assert unlike(body, found.json(), name=name) == []


@pytest.mark.parametrize(("version", "name"), of_kind("messages"))
def test_tells_the_websocket_as_recorded(played: Callable[[str], Played], version: str, name: str) -> None:
    wanted, found = RECORDINGS[version][name]["messages"], played(version).replay.heard[name]
    if name != "ws connect":
        wanted = [message for message in wanted if message["type"] != "status"]
    assert [message["type"] for message in found] == [message["type"] for message in wanted]
    assert unlike(wanted, found) == []


@pytest.mark.parametrize("version", RECORDINGS)
def test_status_is_broadcast_with_the_queue_length(played: Callable[[str], Played], version: str) -> None:
    told = [message["data"] for message in played(version).listener.messages[1:] if message["type"] == "status"]
    remaining = [data["status"]["exec_info"]["queue_remaining"] for data in told]
    assert max(remaining) == {"0.3.64": 3, "0.33.0": 4}[version]
    assert remaining[-1] == 0
    assert all(data.keys() == {"status"} for data in told)


@pytest.mark.parametrize(("version", "count"), [("0.3.64", 53), ("0.33.0", 99)])
def test_the_recorded_cases_are_all_played(played: Callable[[str], Played], version: str, count: int) -> None:
    replay = played(version).replay
    assert len(RECORDINGS[version]) == count
    left_out = WITH_ASSETS if version == "0.33.0" else ()
    assert {*replay.answers, *replay.heard, *left_out} == set(RECORDINGS[version])


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"a": 1}, {"a": 2}),
        ({"a": 1}, {"a": 1, "b": 2}),
        ({"a": 1}, {"a": 1.0}),
        ([1, 2], [2, 1]),
        ({"executed": ["1"]}, {"executed": ["2"]}),
        ({"timestamp": 1}, {"timestamp": "1"}),
    ],
)
def test_the_comparison_sees_a_difference(wanted: Any, found: Any) -> None:
    assert differences(wanted, found, free=OF_ANY_VALUE)
