"""Node classes from servers, and as they were kept."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import responses

from orchestrator.node_classes import NodeClasses, keep, kept
from orchestrator.servers import parse_server
from orchestrator.settings import Settings

URL, OTHER = "http://10.0.0.7:8188", "http://10.0.0.8:8188"
IMAGE = {"input": {"required": {"width": ["INT", {}]}}, "output": ["IMAGE"]}
SAVE = {"input": {"required": {"images": ["IMAGE"]}}, "output": [], "output_node": True}


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def web() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as found:
        yield found


def settings(*urls: str) -> Settings:
    return Settings(output_dir=Path("out"), servers=tuple(map(parse_server, urls)))


def serve(web: responses.RequestsMock, url: str, **classes: object) -> None:
    web.get(f"{url}/api/prompt", json={"exec_info": {"queue_remaining": 0}})
    for name in ("EmptyImage", "SaveImage"):
        answer = {name: classes[name]} if name in classes else {}
        web.get(f"{url}/api/object_info/{name}", json=answer)


def files(tmp_path: Path) -> list[Path]:
    return sorted(path for path in (tmp_path / "cache").rglob("*") if path.is_file())


def test_the_classes_of_the_server_and_no_others(web: responses.RequestsMock) -> None:
    serve(web, URL, EmptyImage=IMAGE)
    found = NodeClasses(settings(URL)).of(["EmptyImage", "SaveImage"])
    assert list(found.catalogue) == ["EmptyImage"]
    assert found.server is not None
    assert (found.server.url, found.is_kept, found.trouble) == (URL, False, None)
    assert len(web.calls) == 3


def test_offline_they_are_those_of_an_earlier_call(web: responses.RequestsMock) -> None:
    serve(web, URL, EmptyImage=IMAGE, SaveImage=SAVE)
    NodeClasses(settings(URL)).of(["EmptyImage", "SaveImage"])
    web.reset()
    found = NodeClasses(settings(URL)).of(["SaveImage"])
    assert found.catalogue["SaveImage"].output_node
    assert found.is_kept
    assert found.trouble is not None
    assert URL in found.trouble
    unasked = NodeClasses(settings(URL)).of(["SaveImage"], ask=False)
    assert (unasked.catalogue, unasked.trouble) == (found.catalogue, None)
    other = NodeClasses(settings(OTHER)).of(["SaveImage"], ask=False)
    assert (other.catalogue, other.server) == ({}, None)


def test_of_several_servers_the_first_that_has_all(web: responses.RequestsMock) -> None:
    serve(web, URL, EmptyImage=IMAGE)
    serve(web, OTHER, EmptyImage=IMAGE, SaveImage=SAVE)
    both = NodeClasses(settings(URL, OTHER))
    found = both.of(["EmptyImage", "SaveImage"])
    assert found.server is not None
    assert found.server.url == OTHER
    one = both.of(["EmptyImage"])
    assert one.server is not None
    assert one.server.url == URL


def test_one_that_does_not_answer_is_passed_over(web: responses.RequestsMock) -> None:
    serve(web, OTHER, EmptyImage=IMAGE)
    found = NodeClasses(settings(URL, OTHER)).of(["EmptyImage"])
    assert found.server is not None
    assert (found.server.url, found.is_kept) == (OTHER, False)


def test_a_server_without_the_question_for_one_class(web: responses.RequestsMock) -> None:
    web.get(f"{URL}/api/prompt", json={"exec_info": {"queue_remaining": 0}})
    web.get(f"{URL}/api/object_info/EmptyImage", status=404)
    web.get(f"{URL}/api/object_info", json={"EmptyImage": IMAGE, "Other": SAVE})
    assert list(NodeClasses(settings(URL)).of(["EmptyImage"]).catalogue) == ["EmptyImage"]


def test_what_is_kept_is_written_once_and_replaced_when_it_changes(tmp_path: Path) -> None:
    server = parse_server(URL)
    keep(server, {"EmptyImage": IMAGE, "SaveImage": SAVE})
    before = {path: path.stat().st_ino for path in files(tmp_path)}
    keep(server, {"EmptyImage": IMAGE, "SaveImage": {**SAVE, "output_node": False}})
    after = {path: path.stat().st_ino for path in files(tmp_path)}
    assert len(before) == len(after) == 2
    assert sum(before[path] != after[path] for path in before) == 1
    assert kept(server, ["EmptyImage", "SaveImage"])["SaveImage"]["output_node"] is False


def test_the_order_of_inputs_is_kept(tmp_path: Path) -> None:
    server, declared = parse_server(URL), {"z": ["INT"], "a": ["INT"], "m": ["INT"]}
    keep(server, {"Own": {"input": {"required": declared}}})
    assert list(kept(server, ["Own"])["Own"]["input"]["required"]) == ["z", "a", "m"]


@pytest.mark.parametrize(
    "damage", ["", "{", "[]", '{"class": "Another", "info": {}}', '{"class": "SaveImage"}', "\xff"]
)
def test_a_damaged_file_is_as_none(tmp_path: Path, damage: str) -> None:
    server = parse_server(URL)
    keep(server, {"SaveImage": SAVE})
    files(tmp_path)[0].write_bytes(damage.encode("latin-1"))
    assert kept(server, ["SaveImage"]) == {}
    keep(server, {"SaveImage": SAVE})
    assert kept(server, ["SaveImage"]) == {"SaveImage": SAVE}


def test_a_cache_that_cannot_be_written_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, web: responses.RequestsMock
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    serve(web, URL, EmptyImage=IMAGE)
    assert list(NodeClasses(settings(URL)).of(["EmptyImage"]).catalogue) == ["EmptyImage"]


def test_no_secret_and_no_address_is_kept(tmp_path: Path) -> None:
    keep(parse_server("http://user:hunter2secret@10.0.0.7:8188"), {"SaveImage": SAVE})
    for path in files(tmp_path):
        assert "hunter2secret" not in f"{path} {json.dumps(path.read_text())}"
