"""What the documents say of profiles, of batch_info.json and of notifications is what there is."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from support.batch_scene import Scene
from support.comfyui_loopback import Loopback
from support.pages import DOCS, blocks, page

from orchestrator.batches.profiles import load_model_notes, load_profiles
from state.batch import Notify


def block(name: str, language: str) -> str:
    (found,) = blocks(DOCS / name, language)
    return found.text


def test_the_profiles_are_read(tmp_path: Path) -> None:
    (tmp_path / "profiles.yaml").write_text(block("batches.md", "yaml"))
    profiles = load_profiles(tmp_path)
    assert (profiles["mine"].batch_size, profiles["mine"].cfg) == ("auto", 6.5)
    assert load_model_notes(tmp_path)[0].needed_bytes(4) == 14 * 2**30
    named = re.search(r"^`--profile (\w+)`, (.*?) sets", page("batches.md"), re.MULTILINE)
    assert named is not None
    assert {named[1], *re.findall(r"`(\w+)`", named[2])} == profiles.keys() - {"mine"}


def test_batch_info_has_every_field_that_is_named(tmp_path: Path) -> None:
    scene = Scene(tmp_path, layout="batch")
    scene.end_all()
    scene.run_once()
    told = json.loads((tmp_path / "output" / "batch_b1" / "batch_info.json").read_text())
    scene.store.close()
    paragraph = page("batches.md").partition("## batch_info.json\n")[2].strip().splitlines()[0]
    fields = re.findall(r"`(\w+)`", paragraph.partition(" contains `batch_info.json` with ")[2].partition(". ")[0])
    assert len(fields) >= 4
    assert told.keys() >= {*fields, "template", "prompts", "seeds", "parameters", "axes", "images"}


def test_what_a_receiver_gets_is_as_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Method, headers and the body's keys, down to those of the counts; with a key, as the signature needs one."""
    monkeypatch.setenv("HOOK_KEY", "k")
    for name in ("http_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with Loopback(lambda request: request.reply(200)) as receiver:
        scene = Scene(tmp_path, notify=(Notify(url=f"{receiver.url}/hook", secret_env="HOOK_KEY"),))
        scene.end_all()
        scene.run_once()
        scene.store.close()
    (request,) = receiver.requests
    head, _, body = block("notifications.md", "http").partition("\n\n")
    first, *headers = head.splitlines()
    assert first.split()[:2] == [request.method, request.path]
    shown = dict(line.split(": ", 1) for line in headers)
    assert all(name in request.headers for name in shown)
    assert request.headers["Content-Type"] == shown["Content-Type"]
    told, document = json.loads(request.body), json.loads(body)
    assert list(told) == list(document)
    assert (told["kind"], list(told["counts"])) == (document["kind"], list(document["counts"]))
