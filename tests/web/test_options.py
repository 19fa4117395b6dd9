"""What the form offers, and for how long what a server said is held to be so."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.ui_files import text_to_image

import templates
from orchestrator.clock import Clock
from orchestrator.errors import TemplateError
from orchestrator.sandbox import Sandbox, SandboxSettings
from orchestrator.settings import Overrides
from orchestrator.web.batch_schemas import BatchRequest
from orchestrator.web.batch_start import start
from orchestrator.web.error_responses import Refused
from orchestrator.web.form_options import FormOptions
from orchestrator.web.states import WatchedState, WatchedStates
from state.open_store import open_store


class Moved(Clock):
    """Stands still until it is moved."""

    seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as running:
        yield running


def state(directory: Path, *, server: str, number: int = 0) -> WatchedState:
    said = Overrides(template="txt2img-sdxl", servers=(server,))
    found = WatchedStates([directory / f"state{number}.json"], said).states[0]
    found.number = number
    return found


def asked(sandbox: Sandbox) -> int:
    count: int = sandbox.counts()["requests"].get("GET /prompt", 0)
    return count


def test_what_a_server_said_holds_for_five_seconds(tmp_path: Path, sandbox: Sandbox) -> None:
    clock, one = Moved(), state(tmp_path, server=sandbox.url)
    watched = FormOptions(clock)
    first = watched.of(one, None)
    assert first.server.reachable
    assert first.models
    for seconds, count in ((4.9, 1), (5.1, 2)):
        clock.seconds = seconds
        assert watched.of(one, None) == first
        assert asked(sandbox) == count


def test_each_template_and_each_state_has_its_own(tmp_path: Path, sandbox: Sandbox) -> None:
    watched = FormOptions(Moved())
    with Sandbox() as other:
        one, two = state(tmp_path, server=sandbox.url), state(tmp_path, server=other.url, number=1)
        assert watched.of(one, None).template == "txt2img-sdxl"
        assert watched.of(one, "txt2img-sd15").template == "txt2img-sd15"
        assert watched.of(one, "txt2img-sd15").defaults["model"] != watched.of(one, None).defaults["model"]
        assert asked(other) == 0
        watched.of(two, None)
        assert (asked(sandbox), asked(other)) == (2, 1)


def test_that_a_server_is_away_is_said_soon_and_asked_anew_soon(tmp_path: Path) -> None:
    clock = Moved()
    watched, away = FormOptions(clock), state(tmp_path, server="http://127.0.0.1:9")
    began = time.monotonic()
    found = watched.of(away, None)
    assert time.monotonic() - began < 12, "a burst would ask for 20 s"
    assert not found.server.reachable
    assert str(found.server.message).startswith("Cannot connect to server")
    assert found.takes
    assert found.templates
    assert watched.of(away, None) is found
    clock.seconds = 0.6
    assert watched.of(away, None) is not found


def test_a_template_that_is_not_offered_is_refused(tmp_path: Path, sandbox: Sandbox) -> None:
    one = state(tmp_path, server=sandbox.url)
    (tmp_path / "mine.json").write_text("{}")
    for name in ("mine.json", str(tmp_path / "mine.json"), "../txt2img-sdxl", "txt2img-sdxl.json", ""):
        with pytest.raises(Refused) as refused:
            FormOptions().of(one, name)
        assert (refused.value.status, refused.value.field) == (400, "template")
    assert asked(sandbox) == 0


def test_a_template_as_the_editor_saves_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it takes is offered, also when the server is away later, and a batch of it is made."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "ui.json").write_text(json.dumps(text_to_image()))
    with Sandbox(SandboxSettings(checkpoints=("a.safetensors",))) as sandbox:
        said = Overrides(template=str(tmp_path / "ui.json"), servers=(sandbox.url,), output_dir=tmp_path / "out")
        (watched,) = WatchedStates([tmp_path / "state.json"], said).states
        found = FormOptions(Moved()).of(watched, None)
        start(watched, BatchRequest(prompt="a cat", batchCount=2))
    assert {"prompt", "negative", "seed", "width", "model"} <= set(found.takes)
    assert found.defaults["width"] == 512
    away = FormOptions(Moved()).of(watched, None)
    assert (away.takes, away.server.reachable) == (found.takes, False)
    with open_store(tmp_path / "state.json", read_only=True) as store:
        (recipe,) = store.recipes.all().values()
        assert store.recipes.workflow(recipe)["4"]["inputs"] == {"width": 512, "height": 768, "batch_size": 1}


def test_nothing_is_offered_of_one_that_cannot_be_converted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "ui.json").write_text(json.dumps(text_to_image()))
    said = Overrides(template=str(tmp_path / "ui.json"), servers=("http://127.0.0.1:9",))
    (watched,) = WatchedStates([tmp_path / "state.json"], said).states
    with pytest.raises(TemplateError, match="no server answers"):
        FormOptions(Moved()).of(watched, None)


def test_only_templates_that_the_form_can_fill_in_are_offered(tmp_path: Path, sandbox: Sandbox) -> None:
    one = state(tmp_path, server=sandbox.url)
    found = FormOptions().of(one, None)
    assert found.templates == ["txt2img-sdxl", "txt2img-sd15", "img2img", "smoke"], "smoke-image takes no prompt"
    assert (found.default, found.template, found.needsImage) == ("txt2img-sdxl", "txt2img-sdxl", False)
    image = FormOptions().of(one, "img2img")
    assert "image" in image.takes
    assert image.needsImage
    assert image.default == "txt2img-sdxl"


def test_an_image_that_the_template_names_is_needed_only_where_its_server_has_none(
    tmp_path: Path, sandbox: Sandbox
) -> None:
    graph = json.loads((Path(templates.__file__).parent / "img2img.json").read_text())
    graph["10"]["inputs"]["image"] = "cat.png"
    (tmp_path / "cat.json").write_text(json.dumps(graph))
    (one,) = WatchedStates(
        [tmp_path / "state.json"], Overrides(template=str(tmp_path / "cat.json"), servers=(sandbox.url,))
    ).states
    found = FormOptions().of(one, None)
    assert (found.needsImage, found.defaults["image"]) == (True, "cat.png")
    (sandbox.input_directory / "cat.png").write_bytes(b"")
    found = FormOptions().of(one, None)
    assert (found.needsImage, found.defaults["image"]) == (False, "cat.png")


@pytest.mark.parametrize("own", [None, "smoke-image"])
def test_without_a_template_of_its_own_that_can_be_filled_in_the_first_one_is_shown(
    tmp_path: Path, sandbox: Sandbox, own: str | None
) -> None:
    said = Overrides(template=own, servers=(sandbox.url,))
    (one,) = WatchedStates([tmp_path / "state.json"], said).states
    found = FormOptions().of(one, None)
    assert (found.default, found.template, found.templates[0]) == (None, "txt2img-sd15", "txt2img-sd15")
    assert "smoke-image" not in found.templates


def test_a_shipped_template_that_the_bindings_of_the_state_do_not_fit_is_not_offered(
    tmp_path: Path, sandbox: Sandbox
) -> None:
    said = Overrides(template="smoke", servers=(sandbox.url,), bindings={"seed": "2.seed,2.strength"})
    (one,) = WatchedStates([tmp_path / "state.json"], said).states
    assert FormOptions().of(one, None).templates == ["smoke"]
