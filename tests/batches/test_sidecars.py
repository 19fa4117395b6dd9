"""Sidecars: what they say is what was rendered, they stand and fall with their pictures, and they are read back."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from support.documents import checked
from support.preparing import preparation_of

import templates
from orchestrator import run_burst
from orchestrator.batches.sidecar_text import as_text, from_text
from orchestrator.batches.sidecars import Reproduction, read_reproduction, sidecar_of
from orchestrator.cycle.report import BurstReport
from orchestrator.errors import UsageError
from orchestrator.outputs import embedded_graph
from orchestrator.preparation import filled
from orchestrator.recipes import Recipes
from orchestrator.sandbox import Sandbox, SandboxSettings
from orchestrator.servers import default_name
from orchestrator.verify import verify_outputs
from state.item import Item, OutputRecord, Status
from state.open_store import open_store, parts_of

SD15 = templates.load_workflow("txt2img-sd15")
FILES = [OutputRecord(path="a/b.png", bytes=7, sha256="0" * 64)]
FORMS = ("a/b.txt", "a/b.json")
LINE_ENDS = "\n\r\v\f\x85\u2028"
TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.text(st.sampled_from(f' ab:|"#\\{{[-0179.é{LINE_ENDS}')),
    st.sampled_from(["|", "---", "true", "null", "NaN", "7", "1e5", "", " ", "\n", "a\n", "\n\na", "a: |", '"', "[1"]),
)
WORDS = TEXTS.map(lambda text: text.replace("\0", ""))
KEYS = st.one_of(st.sampled_from(["prompt", "98:6.text", "3.steps"]), TEXTS)
VALUES = st.one_of(TEXTS, st.integers(), st.floats(allow_nan=False), st.booleans(), st.lists(TEXTS), st.none())


class Place:
    """A state with some items, and bursts over it."""

    def __init__(self, home: Path, sandbox: Sandbox) -> None:
        self.home, self.sandbox = home, sandbox
        self.state, self.output = home / "state.json", home / "output"
        self.template = "txt2img-sd15"

    def hold(self, **records: dict[str, Any]) -> None:
        """These are the items, as if nothing had been before."""
        (self.state.with_suffix(".burst") / "journal.jsonl").unlink(missing_ok=True)
        whole = {
            key: {"status": "pending", "subfolder": "", "filename": f"{key}.png"} | records[key] for key in records
        }
        self.state.write_text(json.dumps(whole))

    def run(self) -> BurstReport:
        return run_burst(
            self.state,
            server=self.sandbox.url,
            template=self.template,
            output_dir=self.output,
            poll_seconds=0.1,
        )

    def item(self, key: str = "a") -> Item:
        store = open_store(self.state, read_only=True)
        try:
            return store.get(key)
        finally:
            store.close()

    def killed_before_the_checkpoint(self, key: str = "a") -> None:
        """Its outputs are in their places, and the record does not know yet."""
        done = self.item(key)
        record = json.loads(done.to_record())
        del record["outputs"], record["completed_at"], record["seconds"]
        self.hold(**{key: record | {"status": "submitted", "accepted": True}})

    @property
    def rendered(self) -> dict[str, int]:
        rendered: dict[str, int] = self.sandbox.counts()["rendered_by_item"]
        return rendered


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with Sandbox(SandboxSettings(accept_any_model=True), directory=tmp_path / "server") as running:
        yield Place(tmp_path, running)


def written(inputs: dict[str, Any], form: str, *, name: str = "txt2img-sd15", home: Path = Path()) -> str:
    """The sidecar of an item whose graph is what the server rendered."""
    item = Item(key="b/001", status=Status.SUBMITTED, inputs=inputs, sidecar=form, prompt_id="id", template=name)
    prompts = preparation_of(home)
    graph = templates.set_prefixes(prompts.prepare(item).graph, "id")
    return sidecar_of(item, prompts, graph=graph, seconds=1.5).told(FILES)


def saved(home: Path, text: str) -> Path:
    path = home / "sidecar"
    path.write_bytes(text.encode())
    return path


# The two forms.


@given(st.lists(st.dictionaries(KEYS, VALUES), min_size=1, max_size=3))
def test_text_is_read_back_as_it_was_written(sections: list[dict[str, Any]]) -> None:
    assert from_text(as_text(sections)) == sections


def test_text_is_plain_to_people() -> None:
    told = as_text([{"prompt": "a fox: red,\n  at night", "negative": "blurry", "seed": 7}, {"template": "a b"}])
    assert told == "prompt: |\n  a fox: red,\n    at night\nnegative: blurry\nseed: 7\n---\ntemplate: a b\n"


@pytest.mark.parametrize("form", FORMS)
@given(prompt=WORDS, negative=WORDS, seed=st.integers(0, 2**64 - 1), cfg=st.floats(0, 100), steps=st.integers(1, 99))
def test_what_was_asked_for_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, form: str, prompt: str, negative: str, **numbers: Any
) -> None:
    home = tmp_path_factory.getbasetemp()
    recipe = read_reproduction(
        saved(home, written({"prompt": prompt, "negative": negative} | numbers, form)), home=home
    )
    assert (recipe.template, recipe.graph, recipe.prompt) == ("txt2img-sd15", None, prompt)
    assert recipe.seed == numbers["seed"]
    assert (recipe.inputs["negative"], recipe.inputs["cfg"], recipe.inputs["steps"]) == (
        negative,
        numbers["cfg"],
        numbers["steps"],
    )


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "inputs",
    [
        {},
        {"lora": "a.safetensors:0.5"},
        {"lora": ["a.safetensors", "b.safetensors:0.3"], "lora_strength": 0.7},
        {"9.filename_prefix": "x", "3.denoise": 0.4, "class=KSampler.cfg": 3},
        {"width": "768", "batch_size": 4},
    ],
    ids=["defaults", "LoRA", "LoRAs", "addresses", "size"],
)
def test_the_recipe_makes_the_same_graph(tmp_path: Path, form: str, inputs: dict[str, Any]) -> None:
    asked = {"prompt": "a fox", "seed": 5} | inputs
    recipe = read_reproduction(saved(tmp_path, written(asked, form)), home=tmp_path)
    bindings = templates.find_bindings(SD15.graph)
    again, _ = filled(SD15.graph, bindings, {"prompt": recipe.prompt, "seed": recipe.seed, **recipe.inputs})
    before, _ = filled(SD15.graph, bindings, asked)
    assert templates.fingerprint(again) == templates.fingerprint(before)


def test_it_says_what_the_template_alone_decided() -> None:
    document = checked(json.loads(written({"prompt": "a fox", "seed": 5, "cfg": 3}, "a/b.json")))
    sampler = next(node["inputs"] for node in SD15.graph.values() if node["class_type"] == "KSampler")
    inputs = document["inputs"]
    assert (inputs["cfg"], inputs["steps"], inputs["sampler"]) == (3, sampler["steps"], sampler["sampler_name"])
    assert {"negative", "model", "scheduler", "width", "height", "batch_size"} <= inputs.keys()
    assert "prefix" not in inputs
    assert next(iter(inputs)) == "prompt"


def test_inputs_of_one_name_that_differ_are_told_one_by_one(tmp_path: Path) -> None:
    second = SD15.graph["3"] | {"inputs": SD15.graph["3"]["inputs"] | {"latent_image": ["3", 0]}}
    decoding = SD15.graph["8"] | {"inputs": SD15.graph["8"]["inputs"] | {"samples": ["11", 0]}}
    graph = SD15.graph | {"8": decoding, "11": second}
    bindings = templates.find_bindings(graph)
    assert {target.node_id for target in bindings["steps"]} == {"3", "11"}
    (tmp_path / "t.json").write_text(json.dumps(graph))
    asked = {"prompt": "a fox", "seed": 5, "11.steps": 4}
    recipe = read_reproduction(saved(tmp_path, written(asked, "a/b.json", name="t.json", home=tmp_path)), home=tmp_path)
    assert "steps" not in recipe.inputs
    assert recipe.inputs["11.steps"] == 4
    again, _ = filled(graph, bindings, {"prompt": recipe.prompt, "seed": recipe.seed, **recipe.inputs})
    assert templates.fingerprint(again) == templates.fingerprint(filled(graph, bindings, asked)[0])


# In a burst.


@pytest.mark.parametrize("form", ["notes/a.txt", "notes/a.json"])
def test_it_is_placed_and_recorded_with_the_picture(place: Place, form: str) -> None:
    place.hold(a={"prompt_text": "a fox", "inputs": {"seed": 11}, "sidecar": form, "batch": "b", "index": 4})
    assert place.run().exit_code == 0
    picture, sidecar = place.item().outputs
    data = (place.output / form).read_bytes()
    assert (sidecar.path, sidecar.bytes, sidecar.sha256) == (form, len(data), hashlib.sha256(data).hexdigest())
    assert verify_outputs(place.state).problems == ()
    sections = from_text(data.decode()) if form.endswith(".txt") else [json.loads(data)["inputs"], json.loads(data)]
    inputs, facts = sections
    assert (inputs["prompt"], inputs["seed"]) == ("a fox", 11)
    assert (facts["batch"], facts["index"], facts["template"]) == ("b", 4, "txt2img-sd15")
    assert (facts["prompt_id"], facts["server"]) == (place.item().prompt_id, default_name(place.sandbox.url))
    assert facts["seconds"] == place.item().seconds
    assert facts["files"] == [{"path": picture.path, "bytes": picture.bytes, "sha256": picture.sha256}]
    assert read_reproduction(place.output / form, home=place.home).seed == 11


@pytest.mark.parametrize("forgotten", [False, True], ids=["collected again", "rescued by name"])
@pytest.mark.parametrize("form", ["a.txt", "a.json"])
def test_a_sidecar_without_a_checkpoint_is_the_items_own(place: Place, form: str, forgotten: bool) -> None:
    place.hold(a={"prompt_text": "a fox", "inputs": {"seed": 11}, "sidecar": form})
    place.run()
    before, data = place.item(), (place.output / form).read_bytes()
    place.killed_before_the_checkpoint()
    if forgotten:
        place.sandbox.restart()
    report = place.run()
    assert report.failures == ()
    assert ((place.output / form).read_bytes() == data) is not forgotten
    assert place.item().outputs[0] == before.outputs[0]
    assert place.rendered == {"a": 1}
    assert verify_outputs(place.state).problems == ()


@pytest.mark.parametrize(
    ("sidecar", "said"),
    [
        ("notes/a.txt", "already exists and does not belong"),
        ("../a.txt", "leaves the output directory"),
        ("/a.txt", "relative to the output directory"),
        ("a.exe", "must end in .txt or .json"),
        ("a", "must end in .txt or .json"),
        ("blocked/a.txt", "where a directory should be"),
    ],
)
def test_a_place_that_will_not_do_is_refused_before_rendering(place: Place, sidecar: str, said: str) -> None:
    foreign = place.output / "notes" / "a.txt"
    foreign.parent.mkdir(parents=True)
    foreign.write_text("prompt: mine\n---\nprompt_id: another\n")
    (place.output / "blocked").write_text("a file")
    place.hold(a={"prompt_text": "a fox", "sidecar": sidecar}, b={"prompt_text": "a cat", "sidecar": "b.txt"})
    report = place.run()
    ((key, message),) = report.failures
    assert key == "a"
    assert said in message
    assert place.rendered == {"b": 1}
    assert foreign.read_text().startswith("prompt: mine")


def test_two_items_with_one_sidecar_are_not_both_rendered(place: Place) -> None:
    place.hold(a={"prompt_text": "a fox", "sidecar": "x.txt"}, b={"prompt_text": "a cat", "sidecar": "x.txt"})
    ((key, message),) = place.run().failures
    assert key == "b"
    assert "a is saved under the same name" in message
    assert place.rendered == {"a": 1}


def test_a_sidecar_called_as_a_text_output_is_refused(place: Place) -> None:
    """That there is a text shows when the prompt has finished."""
    shown = json.loads((Path(templates.__file__).parent / "smoke.json").read_text())
    del shown["3"]  # the image, beside which the text would not be fetched
    place.template = str(place.home / "text.json")
    Path(place.template).write_text(json.dumps(shown))
    place.hold(a={"prompt_text": "a fox", "sidecar": "A.txt"})
    ((_, message),) = place.run().failures
    assert "has the name of an output of the same item" in message
    assert list(place.output.rglob("*")) == []


def test_half_sidecars_of_a_killed_burst_are_removed(place: Place) -> None:
    place.hold(a={"prompt_text": "a fox", "sidecar": "notes/a.txt"})
    place.run()
    left = place.output / "notes" / f".burst-{place.item().prompt_id}-9.part"
    left.write_text("prompt: a f")
    place.killed_before_the_checkpoint()
    place.run()
    assert not left.exists()


def without_a_negative() -> str:
    graph = json.loads(json.dumps(SD15.graph))
    inputs = next(node["inputs"] for node in graph.values() if node["class_type"] == "KSampler")
    inputs["negative"] = inputs["positive"]
    return json.dumps(graph)


def test_a_template_that_was_changed_since_is_made_again_as_it_was(place: Place) -> None:
    mine = place.home / "mine.json"
    place.template = str(mine)
    mine.write_text(json.dumps(SD15.graph))
    place.hold(a={"prompt_text": "a fox", "inputs": {"seed": 11}, "sidecar": "a.txt"})
    place.run()
    sidecar = place.output / "a.txt"
    assert read_reproduction(sidecar, home=place.home).template == "mine.json"
    place.killed_before_the_checkpoint()
    mine.write_text(without_a_negative())
    place.run()
    with pytest.raises(UsageError, match=r"mine\.json was \w+… and is \w+… now"):
        read_reproduction(sidecar, home=place.home)
    recipes = Recipes(parts_of(place.state).recipes, place.home)
    found = read_reproduction(sidecar, home=place.home, recipes=recipes)
    assert found.recipe is not None
    assert (found.recipe.recipe.workflow_name, found.recipe.graph, found.seed) == ("mine.json", SD15.graph, 11)


def test_a_template_changed_before_collecting_is_not_taken_for_the_one_that_was_rendered(place: Place) -> None:
    """Of an item that version 1 sent, which has no recipe."""
    mine = place.home / "mine.json"
    place.template = str(mine)
    mine.write_text(json.dumps(SD15.graph))
    place.hold(a={"prompt_text": "a fox", "inputs": {"seed": 11}, "sidecar": "a.txt"})
    place.run()
    place.killed_before_the_checkpoint()
    record = json.loads(place.item().to_record())
    place.hold(a={name: value for name, value in record.items() if name != "recipe"})
    mine.write_text(without_a_negative())
    place.run()
    with pytest.raises(UsageError, match=r"mine\.json had been changed before the image was saved"):
        read_reproduction(place.output / "a.txt", home=place.home)


# Read back.


def test_a_template_that_is_gone_or_another_is_refused_unless_one_is_named(tmp_path: Path) -> None:
    template = tmp_path / "mine.json"
    template.write_text(json.dumps(SD15.graph))
    path = saved(tmp_path, written({"prompt": "a fox", "seed": 5}, "a/b.txt", name="mine.json", home=tmp_path))
    assert read_reproduction(path, home=tmp_path).template == "mine.json"
    then = templates.fingerprint(SD15.graph)
    other = templates.load_workflow("smoke").graph
    template.write_text(json.dumps(other))
    now = templates.fingerprint(other)
    with pytest.raises(UsageError, match=rf"mine\.json was {then[:12]}… and is {now[:12]}… now; .*template='NAME'"):
        read_reproduction(path, home=tmp_path)
    template.unlink()
    with pytest.raises(UsageError, match=r"mine\.json cannot be had any more .*template='NAME'"):
        read_reproduction(path, home=tmp_path)
    recipe = read_reproduction(path, home=tmp_path, template="smoke")
    assert (recipe.template, recipe.prompt, recipe.seed) == ("smoke", "a fox", 5)


def test_a_picture_is_made_again_from_its_own_graph(place: Place) -> None:
    place.hold(a={"prompt_text": "a fox", "inputs": {"seed": 11, "steps": 2}})
    place.run()
    picture = place.output / "a.png"
    graph = templates.parse_graph(embedded_graph(picture), where="a.png")
    assert read_reproduction(picture, home=place.home) == Reproduction(None, graph, "a fox", 11, {})
    recipe = read_reproduction(picture, home=place.home, template="smoke")
    assert (recipe.template, recipe.graph, recipe.seed, recipe.inputs["steps"]) == ("smoke", None, 11, 2)


def picture_without_graph() -> bytes:
    stream = io.BytesIO()
    Image.new("L", (8, 8)).save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (picture_without_graph(), "this image holds no ComfyUI workflow"),
        (b"\xff\xd8\xff\xe0 a JPEG", "not UTF-8 at byte 0"),
        (b"", "it does not say that it is burst.sidecar/1"),
        (b"just a prompt", "line 1: 'just a prompt' is not `key: value`"),
        (b'{"inputs": {}}', "it does not say that it is burst.sidecar/1"),
        (b'{"inputs": ', "Expecting value"),
        (b'{"schema": "burst.sidecar/1", "inputs": []}', "it does not say"),
        (b"seed: 7\n---\nschema: burst.sidecar/1\n", "it names no template"),
        (b"seed: x\n---\nschema: burst.sidecar/1\ntemplate: smoke\n", "had been changed before"),
    ],
)
def test_what_is_no_sidecar_is_refused(tmp_path: Path, data: bytes, said: str) -> None:
    path = tmp_path / "given"
    path.write_bytes(data)
    with pytest.raises(UsageError) as refused:
        read_reproduction(path, home=tmp_path)
    assert said in str(refused.value)
    assert str(path) in str(refused.value)


@pytest.mark.parametrize("wrong", ["seed: seven", "seed: -1", "seed: 1.5", "prompt: 7"])
def test_values_that_are_none_are_refused(tmp_path: Path, wrong: str) -> None:
    path = saved(tmp_path, f"{wrong}\n---\nschema: burst.sidecar/1\n")
    with pytest.raises(UsageError, match=wrong.partition(":")[0]):
        read_reproduction(path, home=tmp_path, template="smoke")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        read_reproduction(tmp_path / "none.txt", home=tmp_path)
