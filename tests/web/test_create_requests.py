"""What the page's form may ask for beyond the contract of the seed, and what it would make, told beforehand."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from support.front_ends import Front, front
from support.workbooks import workbook

from orchestrator.commands.flag_names import as_flag
from orchestrator.sandbox import Sandbox, SandboxSettings
from orchestrator.web.uploads import keep_table
from orchestrator.wording import process_speaks


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(SandboxSettings()) as running:
        yield running


@pytest.fixture
def idle(tmp_path: Path, sandbox: Sandbox) -> Iterator[Front]:
    with front(tmp_path, sandbox, works=False) as found:
        yield found


def ask(front: Front, path: str, status: int = 200, **request: Any) -> Any:
    body = {"batchRequest": {"prompt": "a fox", "batchCount": 1, **request}}
    answer = front.http.post(path, json=body)
    assert answer.status_code == status, answer.text
    return answer.json() if status == 200 else answer.json()["error"]


def create(front: Front, status: int = 200, **request: Any) -> Any:
    return ask(front, "/api/create", status, **request)


def forecast(front: Front, status: int = 200, **request: Any) -> Any:
    return ask(front, "/api/forecast", status, **request)


def bring(front: Front, data: bytes, status: int = 200, *, path: str = "/api/tables", **query: str) -> Any:
    answer = front.http.post(path, content=data, params=query)
    assert answer.status_code == status, answer.text
    return answer.json() if status == 200 else answer.json()["error"]


def counts(said: Any) -> tuple[int, int, int]:
    return said["prompts"], said["cells"], said["images"]


@pytest.mark.parametrize("count", [1, 21, 999])
def test_the_page_takes_from_1_to_999(idle: Front, count: int) -> None:
    assert forecast(idle, batchCount=count)["images"] == count
    assert create(idle, batchCount=count)["queuedImages"] == count
    assert idle.ask(batchCount=count).status_code == 400, "the contract of the seed is from 2 to 20"


@pytest.mark.parametrize("count", [0, 1000, -1])
def test_other_counts_are_refused_at_their_field(idle: Front, count: int) -> None:
    error = {"kind": "BadRequest", "message": "Number of images is a whole number from 1 to 999", "field": "batchCount"}
    assert create(idle, 400, batchCount=count) == error
    assert forecast(idle, 400, batchCount=count) == error
    assert not idle.states[0].exists()


def test_each_line_is_a_prompt(idle: Front) -> None:
    said = {"prompt": "a fox\n\n# not this\n  a cat \n\\#1 fan\n{a|b} <lora:x:1>", "severalPrompts": True}
    assert counts(forecast(idle, **said, batchCount=4)) == (4, 1, 16)
    create(idle, **said, batchCount=2)
    assert [item.prompt_text for item in idle.items()][::2] == ["a fox", "a cat", "#1 fan", "{a|b} <lora:x:1>"]
    assert create(idle, 400, prompt="\n# only this", severalPrompts=True) == {
        "kind": "BadRequest",
        "message": "Prompt cannot be empty",
        "field": "prompt",
    }


def test_dynamic_prompts_are_shown_by_three_examples_and_nothing_is_added(idle: Front) -> None:
    said = {"prompt": "a {red|green} __animal__", "dynamic": True}
    (idle.states[0].parent / "wildcards").mkdir()
    (idle.states[0].parent / "wildcards" / "animal.txt").write_text("fox\ncat\n")
    found = forecast(idle, **said, batchCount=40)
    assert found["images"] == 40
    assert len(found["expansions"]) == 3
    possible = {f"a {color} {animal}" for color in ("red", "green") for animal in ("fox", "cat")}
    assert set(found["expansions"]) <= possible
    assert not idle.states[0].exists()
    create(idle, **said, batchCount=2)
    assert {item.prompt_text for item in idle.items()} <= possible


def test_a_mistake_in_a_dynamic_prompt_is_told_at_its_line(idle: Front) -> None:
    error = forecast(idle, 400, prompt="a fox\n\na {cat|dog", dynamic=True, severalPrompts=True)
    assert error["field"] == "prompt"
    assert "line 3" in error["message"]
    assert "standard input" not in error["message"]


def test_loras_have_a_strength(idle: Front) -> None:
    loras = [{"name": "tiny-lora.safetensors", "strength": 0.75}, {"name": "tiny-lora.safetensors", "strength": -1}]
    create(idle, loras=loras)
    assert [item.inputs["lora"] for item in idle.items()] == [
        ["tiny-lora.safetensors:0.75", "tiny-lora.safetensors:-1"]
    ]
    error = create(idle, 400, loras=[{"name": "none.safetensors"}])
    assert error["field"] == "loras"
    assert "none.safetensors" in error["message"]


def test_axes_are_crossed(idle: Front) -> None:
    axes = [{"parameter": "cfg", "values": [5, "7.5"]}, {"parameter": "steps", "values": ["10", "20", "30"]}]
    assert counts(forecast(idle, axes=axes, batchCount=2)) == (1, 6, 12)
    create(idle, axes=axes, batchCount=2)
    items = idle.items()
    assert {(item.inputs["cfg"], item.inputs["steps"]) for item in items} == {
        (cfg, steps) for cfg in (5, 7.5) for steps in (10, 20, 30)
    }
    assert len({item.inputs["seed"] for item in items}) == 2, "all cells share them"


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ([{"parameter": "cfg", "values": ["x"]}], "cfg: "),
        ([{"parameter": "steps", "values": [5, 5]}], "5 is there twice"),
        ([{"parameter": "steps", "values": [5]}, {"parameter": "Steps", "values": [6]}], "steps is there twice"),
        ([{"parameter": "stepz", "values": [5]}], "stepz"),
        ([{"parameter": "cfg", "values": [5]}], "cfg and axis cfg both set cfg; leave one out"),
    ],
)
def test_a_wrong_axis_is_told_at_the_axes(idle: Front, axes: Any, message: str) -> None:
    error = forecast(idle, 400, axes=axes, baseParameters={"cfg": 6.0})
    assert error["field"] == "axes"
    assert message in error["message"]
    assert "--" not in error["message"]


def test_an_axis_of_seeds_says_them_all(idle: Front) -> None:
    axes = [{"parameter": "seed", "values": [7, 2**64 - 1]}]
    create(idle, axes=axes)
    assert [item.inputs["seed"] for item in idle.items()] == [7, 2**64 - 1]
    error = create(idle, 400, axes=axes, batchCount=2)
    assert error["field"] == "batchCount"


def test_a_table_is_told_by_its_columns_and_rows(idle: Front) -> None:
    found = bring(idle, b"prompt,Steps,CFG Scale,count\na fox,5,7,1\n\na cat,6,,3\n")
    assert found["columns"] == [
        {"title": "prompt", "binds": "prompt"},
        {"title": "Steps", "binds": "steps"},
        {"title": "CFG Scale", "binds": "cfg"},
        {"title": "count", "binds": "count"},
    ]
    assert (found["rows"], found["prompts"]) == (2, ["a fox", "a cat"])
    assert counts(forecast(idle, prompt="", table=found["table"], batchCount=9)) == (2, 1, 4)
    assert not idle.states[0].exists()
    create(idle, prompt="", table=found["table"], batchCount=9)
    made = [(item.prompt_text, item.inputs.get("steps")) for item in idle.items()]
    assert made == [("a fox", 5)] + [("a cat", 6)] * 3


def test_a_workbook_is_a_table_too(idle: Front) -> None:
    found = bring(idle, workbook([["prompt", "steps"], ["a fox", 5], ["a cat", 6]]))
    assert found["table"].endswith(".xlsx")
    create(idle, prompt="", table=found["table"], batchCount=2)
    assert [item.inputs["steps"] for item in idle.items()] == [5, 5, 6, 6]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"prompt,steps\na fox,many\n", "line 2, column 'steps'"),
        (b"prompt,stepz\na fox,5\n", "line 1, column 'stepz'"),
        (b"", "holds no prompt"),
        (b"a fox\n", "line 1 is not a heading row"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "old format .xls"),
        (b"\0\1\2", "is not a CSV or .xlsx table"),
        (b"PK\3\4 and no more", "damaged"),
    ],
)
def test_what_is_wrong_with_a_table_is_told_at_row_and_column(idle: Front, data: bytes, message: str) -> None:
    error = bring(idle, data, 400)
    assert error["field"] == "table"
    assert message in error["message"]
    assert "standard input" not in error["message"]
    assert "--" not in error["message"]
    assert not idle.states[0].with_suffix(".burst").exists(), "it is not kept"


def test_a_table_cannot_name_files_of_this_host(idle: Front, tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"")
    for heading, value, template, message in (
        ("image", str(secret), "img2img", "cannot name files"),
        ("image", str(tmp_path / "none.png"), "img2img", "cannot name files"),
        ("10.image", str(secret), "img2img", "cannot name files"),
        ("template", str(secret), "txt2img-sdxl", "does not come with burst"),
        ("output", str(tmp_path), "txt2img-sdxl", "cannot set an output directory"),
    ):
        data = f"prompt,{heading}\na fox,{value}\n".encode()
        error = bring(idle, data, 400, template=template)
        assert message in error["message"]
    kept = keep_table(idle.watched.states[0], f"prompt,image\na fox,{secret}\n".encode())
    for call in (create, forecast):
        error = call(idle, 400, prompt="", table=kept, baseParameters={"template": "img2img"})
        assert error["field"] == "table"
        assert "cannot name files" in error["message"], "whatever it was brought for"
    assert bring(idle, b"prompt,image\na fox,server:example.png\n", template="img2img")["rows"] == 1
    assert bring(idle, b"prompt,template\na fox,txt2img-sd15\n")["rows"] == 1


@pytest.mark.parametrize(
    "request_",
    [
        {"prompt": "a __none__", "dynamic": True},
        {"prompt": "a {~red|green}", "dynamic": True},
        {"prompt": "a fox <lora:>", "dynamic": True},
        {"axes": [{"parameter": "cfg", "values": [5]}], "baseParameters": {"template": "smoke"}},
        {"axes": [{"parameter": "name", "values": ["x"]}]},
        {"axes": [{"parameter": "prompt", "values": ["x"]}]},
        {"axes": [{"parameter": "{animal}", "values": ["x"]}]},
        {"axes": [{"parameter": "cfg", "values": [5]}], "baseParameters": {"cfg": 6.0}},
        {"baseParameters": {"profile": "none"}},
        {"baseParameters": {"width": 17}},
        {"model": " "},
    ],
    ids=str,
)
def test_no_message_names_a_flag(idle: Front, request_: dict[str, Any]) -> None:
    with process_speaks(as_flag):
        for call in (forecast, create):
            message = call(idle, 400, **request_)["message"]
            assert "--" not in message
            assert "standard input" not in message


def test_the_notes_of_a_workbook_name_no_flag(idle: Front) -> None:
    with process_speaks(as_flag):
        found = bring(idle, workbook([["prompt"], ["a fox"]], [["prompt"], ["a cat"]]))
    assert found["notes"] == ["sheet 'Prompts' was read, not 'Notes'; the order of its sheets picks one"]


def test_a_table_is_bounded(idle: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.web.upload_routes.LARGEST_TABLE_BYTES", 1 << 20)
    error = bring(idle, b"prompt\n" + b"a fox\n" * (1 << 18), 413)
    assert error == {"kind": "TooLarge", "message": "This table is over 1 MiB; choose a smaller one", "field": "table"}
    monkeypatch.setattr("orchestrator.web.brought_tables._LARGEST_UNPACKED_BYTES", 100)
    assert bring(idle, workbook([["prompt"], ["a fox"]]), 413)["field"] == "table"


def test_a_table_that_is_gone_is_told(idle: Front) -> None:
    error = create(idle, 400, prompt="", table=f"{'a' * 64}.csv")
    assert error == {
        "kind": "BadRequest",
        "message": "This table is not here any more; choose it again",
        "field": "table",
    }
    assert create(idle, 400, table=f"{'a' * 64}.csv")["field"] == "prompt"
    assert create(idle, 400, table="../x.csv")["field"] == "table"


def picture(color: str, **texts: str) -> bytes:
    stream, info = io.BytesIO(), PngInfo()
    for name, text in texts.items():
        info.add_text(name, text)
    Image.new("RGB", (8, 8), color).save(stream, "PNG", pnginfo=info)
    return stream.getvalue()


def test_each_prompt_is_made_from_each_image(tmp_path: Path, sandbox: Sandbox) -> None:
    with front(tmp_path, sandbox, template="img2img", works=False) as found:
        names = [bring(found, picture(color), path="/api/uploads")["upload"] for color in ("red", "blue")]
        said = {"prompt": "a fox\na cat", "severalPrompts": True, "images": names}
        assert counts(forecast(found, **said, batchCount=3)) == (4, 1, 12)
        create(found, **said)
        made = [(item.prompt_text, str(item.uploads["image"]).rpartition("/")[2]) for item in found.items()]
        assert made == [(text, name) for text in ("a fox", "a cat") for name in names]


def test_the_time_is_told_where_a_pace_is_known(tmp_path: Path, sandbox: Sandbox) -> None:
    with front(tmp_path, sandbox, template="smoke") as found:
        assert forecast(found)["seconds"] is None
        found.wait_for(found.start()["batchId"], "complete")
        one, ten = forecast(found, batchCount=1)["seconds"], forecast(found, batchCount=10)["seconds"]
        assert one > 0
        assert ten == pytest.approx(10 * one, rel=0.2)


def test_the_settings_of_an_image_are_told(tmp_path: Path, sandbox: Sandbox) -> None:
    said: dict[str, Any] = {
        "prompt": "a fox",
        "model": "sd_xl_base_1.0.safetensors",
        "loras": [{"name": "tiny-lora.safetensors", "strength": 0.5}],
        "baseParameters": {"steps": 3, "cfg": 4.5, "width": 64, "height": 96, "sampler": "euler", "negative": "fog"},
        "seedMode": "incremental",
        "baseSeed": 2**64 - 1,
    }
    with front(tmp_path, sandbox) as found:
        batch = create(found, **said)["batchId"]
        found.wait_for(batch, "complete")
        address = f"/api/batches/{batch}/images/1/settings"
        told = found.http.get(address).json()
        image = found.http.get(f"/images/{batch}/1").content
        assert found.http.get(f"/api/batches/{batch}/images/2/settings").status_code == 404
        read = bring(found, image, path="/api/settings")
    assert told == {
        "prompt": "a fox",
        "negative": "fog",
        "model": "sd_xl_base_1.0.safetensors",
        "loras": [{"name": "tiny-lora.safetensors", "strength": 0.5}],
        "width": 64,
        "height": 96,
        "steps": 3,
        "cfg": 4.5,
        "sampler": "euler",
        "scheduler": "karras",
        "seed": 2**64 - 1,
        "template": None,
        "state": 0,
    }
    assert read == {**told, "state": None}


def test_the_settings_of_other_programs_are_read_and_none_is_said_plainly(idle: Front) -> None:
    parameters = "a fox\nNegative prompt: fog\nSteps: 12, Sampler: Euler a, CFG scale: 6, Seed: 5, Size: 64x96"
    told = bring(idle, picture("red", parameters=parameters), path="/api/settings")
    assert (told["prompt"], told["negative"], told["steps"], told["width"]) == ("a fox", "fog", 12, 64)
    graph = json.dumps({"1": {"class_type": "Odd", "inputs": {}}})
    for data in (picture("red"), b"", b"GIF89a", picture("red", prompt="{")):
        error = bring(idle, data, 400, path="/api/settings")
        assert error["field"] == "file"
        assert error["message"].startswith("This image has no settings of burst or ComfyUI in it")
    assert bring(idle, picture("red", prompt=graph), path="/api/settings")["prompt"] is None


def test_what_the_form_offers(idle: Front) -> None:
    found = idle.http.get("/api/options").json()
    assert found["loras"] == ["tiny-lora.safetensors"]
    assert "lora" in found["takes"]
    assert {one["name"]: one["kind"] for one in found["templateChoices"]} == {
        "txt2img-sdxl": "text",
        "txt2img-sd15": "text",
        "img2img": "image",
        "smoke": "other",
    }
    assert all(one["purpose"] for one in found["templateChoices"])
    quality = next(one for one in found["profileChoices"] if one["name"] == "quality")
    assert quality["sets"]["steps"] == 30
    parameters = {one["name"]: one for one in found["parameters"]}
    assert {"cfg", "steps", "sampler", "width"} <= parameters.keys()
    assert not {"prompt", "image", "prefix"} & parameters.keys()
    assert "euler" in parameters["sampler"]["choices"]
    smoke = idle.http.get("/api/options?template=smoke").json()
    assert ("lora" in smoke["takes"], smoke["loras"]) == (False, [])
