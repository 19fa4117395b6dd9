"""Receivers that Apprise knows: with the last image, their address in no message, clear where it is missing."""

from __future__ import annotations

import base64
import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from support.batch_scene import Scene
from support.comfyui_loopback import Loopback

from orchestrator.errors import UsageError
from orchestrator.notifications.receivers import add_receiver, check_receivers, list_receivers

pytestmark = pytest.mark.filterwarnings("ignore")  # Apprise's own


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    for name in ("http_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    made = Scene(tmp_path)
    (made.output / "b1").mkdir(parents=True)
    Image.new("RGB", (1600, 800), "red").save(made.output / "b1" / "002.png")
    yield made
    made.store.close()


@pytest.fixture
def service() -> Iterator[Loopback]:
    with Loopback(lambda request: request.reply(200, b"{}")) as made:
        yield made


def add(scene: Scene, url: str) -> str:
    return add_receiver(Path(scene.store.location.path), url, clock=scene.clock).as_text()


def test_an_end_is_told_with_the_last_image_shrunk(scene: Scene, service: Loopback) -> None:
    said = add(scene, service.url.replace("http://", "json://anna:hunter2@") + "/s3cret")
    assert "(json://…) is notified of" in said
    assert "secret" not in said
    scene.end_all()
    scene.run_once()
    (request,) = service.requests
    document = json.loads(request.body)
    assert document["message"] == "Batch b1 is done: 2 items completed"
    (attached,) = document["attachments"]
    image = Image.open(io.BytesIO(base64.b64decode(attached["base64"])))
    assert (image.format, image.size) == ("JPEG", (768, 384))
    assert scene.notes == []
    (one,) = list_receivers(Path(scene.store.location.path)).receivers
    assert one.line().startswith(f"{one.receiver.id}  json://…: done, failed, stuck, disk")


def test_ntfy_gets_the_text_where_no_image_is_there(scene: Scene, service: Loopback) -> None:
    (scene.output / "b1" / "002.png").unlink()
    add(scene, service.url.replace("http://", "ntfy://") + "/topic")
    scene.end_all()
    scene.run_once()
    (request,) = service.requests
    assert b"Batch b1 is done: 2 items completed" in request.body


def test_a_service_that_refuses_is_told_later_and_its_address_is_in_no_message(
    scene: Scene, service: Loopback, caplog: pytest.LogCaptureFixture
) -> None:
    service.answer = lambda request: request.reply(500)
    add(scene, service.url.replace("http://", "json://anna:hunter2@") + "/s3cret")
    report = check_receivers(Path(scene.store.location.path))
    assert report.exit_code == 1
    assert "the json:// service rejected it" in report.as_text()
    assert not [word for word in ("hunter2", "s3cret") if word in report.as_text() + caplog.text]


def test_an_address_that_nobody_knows_is_refused(scene: Scene) -> None:
    with pytest.raises(UsageError, match="nothing:// is not an address that Apprise supports"):
        add(scene, "nothing://hunter2")


def test_without_apprise_the_command_that_installs_it_is_said(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(UsageError, match=r"not installed: `pip install 'comfyui-burst\[notify\]'`"):
        add(scene, "ntfy://topic")
    assert not scene.store.has_notices()
