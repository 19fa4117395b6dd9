"""Save nodes, their unique filename prefixes, and the expected file names."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.recorded import AUDIO_NAMES

from templates import (
    load_workflow,
    needs_exclusive_run,
    numbered_files,
    prefix_for,
    prefix_scheme,
    save_nodes,
    set_prefixes,
)

DATA = Path(__file__).parents[1] / "data" / "templates"
RECORDED: dict[str, Any] = json.loads((DATA / "recorded_graphs.json").read_text())
PROMPT_ID = "954be33e-63a7-4487-974d-03c1e46594a8"


def node(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}


def saved(*chain: dict[str, Any]) -> dict[str, Any]:
    """A graph of nodes numbered from 1, the last of which is linked to a SaveImage node "save"."""
    graph = {str(number): one for number, one in enumerate(chain, 1)}
    return graph | {"save": node("SaveImage", images=[str(len(chain)), 0], filename_prefix="x")}


def count(*chain: dict[str, Any]) -> int | None:
    return save_nodes(saved(*chain))[0].count


def files(graph: dict[str, Any]) -> list[str] | None:
    """Node, folder and name of each file that the prompt will save; None if a name or a number is unknown."""
    numbered = numbered_files(graph, PROMPT_ID)
    if numbered is None or any(one.count is None for one in numbered):
        return None
    return [
        f"{one.node_id} {one.subfolder} {one.filename(number)}"
        for one in numbered
        for number in range(1, (one.count or 0) + 1)
    ]


EMPTY = node("EmptyLatentImage", width=8, height=8, batch_size=3)


def test_the_kinds_of_output_nodes() -> None:
    graph = {
        "img": node("EmptyImage", batch_size=2),
        "save": node("SaveImage", images=["img", 0], filename_prefix="a"),
        "see": node("PreviewImage", images=["img", 0]),
        "any": node("PreviewAny", source="text"),
        "film": node("SaveVideo", video=["img", 0], filename_prefix="v", format="auto"),
        "odd": node("SaveVideo", video=["img", 0], filename_prefix="v", format="new"),
        "mp3": node("SaveAudioMP3", audio=["img", 0], filename_prefix="a"),
        "vhs": node("VHS_VideoCombine", images=["img", 0], filename_prefix="v", save_output=True),
        "tmp": node("VHS_VideoCombine", images=["img", 0], filename_prefix="v", save_output=False),
        "pass": node("Image Save", images=["img", 0], filename_prefix="v"),
        "show": node("ShowText|pysssss", text=["pass", 0]),
        "raw": node("SaveSomewhere", images=["img", 0], path="/x"),
        "loose": node("VAELoader", vae_name="x"),
    }
    found = {save.node_id: save for save in save_nodes(graph)}
    assert set(found) == set(graph) - {"img", "loose"}
    assert {name for name, save in found.items() if save.temporary} == {"see", "any", "tmp", "show"}
    assert {name for name, save in found.items() if save.naming_known} == {"save", "film", "mp3"}
    assert (found["save"].count, found["film"].count, found["mp3"].count) == (2, 1, None)
    assert (found["film"].extension, found["mp3"].extension, found["raw"].extension) == (".mp4", ".mp3", None)
    assert needs_exclusive_run(graph) == ["raw"]


def test_a_preview_in_the_middle_is_an_output_node() -> None:
    graph = {"1": node("PreviewImage", images=["9", 0]), "2": node("SaveImage", images=["1", 0], filename_prefix="x")}
    assert [save.node_id for save in save_nodes(graph)] == ["1", "2"]


def test_set_prefixes_changes_nothing_but_the_prefixes() -> None:
    graph = load_workflow("smoke").graph
    graph["98:6"] = node("SaveImage", images=["2", 0], filename_prefix=["4", 0])
    original = copy.deepcopy(graph)
    marked = set_prefixes(graph, PROMPT_ID)
    assert graph == original
    assert prefix_scheme(graph) == 1
    assert marked["3"]["inputs"]["filename_prefix"] == f"burst/95/{PROMPT_ID}-3"
    assert re.fullmatch(rf"burst/95/{PROMPT_ID}-98_6-h[0-9a-f]{{10}}", marked["98:6"]["inputs"]["filename_prefix"])
    assert {k: v for k, v in marked.items() if k not in ("3", "98:6")} == {
        k: v for k, v in original.items() if k not in ("3", "98:6")
    }


def test_only_classes_that_are_known_to_take_folders_get_any() -> None:
    """Of ComfyUI's own ones; others lose what they save where nobody has made the folder."""
    graph = {
        "1": node("EmptyImage", batch_size=1),
        "2": node("Image Save", images=["1", 0], filename_prefix="x"),
        "3": node("VHS_VideoCombine", images=["1", 0], filename_prefix="x"),
        "4": node("SaveImageAdvanced", images=["1", 0], filename_prefix="x"),
        "5": node("SaveSomewhere", images=["1", 0], save_prefix="x"),
    }
    marked = set_prefixes(graph, PROMPT_ID)
    found = [next(value for value in one["inputs"].values() if PROMPT_ID in value) for one in list(marked.values())[1:]]
    folder = f"burst/95/{PROMPT_ID}"
    assert found == [f"burst-{PROMPT_ID}-2", f"{folder}-3", f"{folder}-4", f"burst-{PROMPT_ID}-5"]
    assert prefix_scheme(graph) == 2
    assert prefix_scheme({name: graph[name] for name in "134"}) == 1


ids = st.text("019aZ:_-. /é", min_size=1, max_size=6)


@given(one=ids, other=ids)
@example(one="98:6", other="98_6")
@example(one="9", other="9:1")
@example(one="9", other="9_00001")
@example(one="a", other="A")
def test_prefixes_of_two_nodes_never_collide(one: str, other: str) -> None:
    if one == other:
        return
    first, second = prefix_for(PROMPT_ID, one), prefix_for(PROMPT_ID, other)
    assert first.casefold() != second.casefold()
    assert re.fullmatch(r"burst/95/[A-Za-z0-9_-]+", first)
    # ComfyUI parses the number after "<prefix>_" in every file name of the directory.
    assert not re.match(rf"{re.escape(first)}_\d+_", f"{second}_00001_.png")


def test_a_long_id_gives_a_valid_file_name() -> None:
    assert len(prefix_for(PROMPT_ID, "x" * 500).rpartition("/")[2]) < 120


def test_expected_files_match_those_of_a_real_server() -> None:
    graph = copy.deepcopy(RECORDED["history success, batch of 3 images"])
    assert files(graph) == [f"9 burst/95 {PROMPT_ID}-9_0000{number}_.png" for number in (1, 2, 3)]


def test_expected_files_of_the_shipped_workflows_are_known() -> None:
    for name in ("smoke", "txt2img-sd15", "txt2img-sdxl", "img2img"):
        assert len(files(load_workflow(name).graph) or ()) == 1


@pytest.mark.parametrize("other", [node("SaveAudio", audio=["1", 0]), node("SomeSaver", images=["1", 0])])
def test_one_unknown_save_node_makes_all_files_unknown(other: dict[str, Any]) -> None:
    graph = saved(node("EmptyImage", batch_size=1))
    assert files(graph) is not None
    assert files(graph | {"other": other}) is None


def test_a_graph_without_files_has_no_expected_files() -> None:
    assert numbered_files({"1": node("PreviewAny", source="x")}, PROMPT_ID) == []
    assert numbered_files({"1": node("EmptyImage", batch_size=1)}, PROMPT_ID) == []


def test_names_are_known_where_the_count_is_not() -> None:
    graph = saved(node("EmptyImage", batch_size=2), node("SomeFilter", image=["1", 0]))
    (only,) = numbered_files(graph, PROMPT_ID) or []
    assert (only.count, only.subfolder, only.filename(2)) == (None, "burst/95", f"{PROMPT_ID}-save_00002_.png")
    graph["1"]["inputs"]["batch_size"] = 10_001
    graph = saved(graph["1"])
    assert [one.count for one in numbered_files(graph, PROMPT_ID) or []] == [None]


def test_counts_are_traced_through_known_nodes() -> None:
    sampler = node("KSampler", latent_image=["1", 0], positive=["9", 0])
    assert count(node("EmptyImage", batch_size=4)) == 4
    assert count(EMPTY, sampler, node("VAEDecode", samples=["2", 0])) == 3
    assert count(EMPTY, node("SamplerCustomAdvanced", latent_image=["1", 0]), node("VAEDecode", samples=["2", 0])) == 3
    assert count(EMPTY, node("RepeatLatentBatch", samples=["1", 0], amount=2), node("VAEDecode", samples=["2", 0])) == 6
    assert count(EMPTY, node("LatentUpscale", samples=["1", 0]), node("VAEDecode", samples=["2", 0])) == 3
    assert (
        count(node("LoadImage", image="a.PNG"), node("VAEEncode", pixels=["1", 0]), node("ImageInvert", image=["2", 0]))
        == 1
    )
    assert count(node("LoadImage", image="a.jpg [output]")) == 1
    assert count(node("PrimitiveInt", value=5), node("EmptyImage", batch_size=["1", 0])) == 5


@pytest.mark.parametrize(
    "chain",
    [
        [node("SomethingElse", images=["9", 0])],
        [node("LoadImage", image="moving.gif")],
        [node("LoadImage", image="moving.webp")],
        [node("EmptyImage")],
        [node("EmptyImage", batch_size=0)],
        [node("EmptyImage", batch_size="2")],
        [EMPTY, node("RepeatLatentBatch", samples=["1", 0]), node("VAEDecode", samples=["2", 0])],
        [node("ImageInvert", image=["1", 0])],
        [node("ImageInvert", image=["nowhere", 0])],
        [node("EmptyHunyuanLatentVideo", batch_size=1), node("VAEDecode", samples=["1", 0])],
        [EMPTY, node("LatentBatch", samples1=["1", 0], samples2=["1", 0]), node("VAEDecode", samples=["2", 0])],
    ],
)
def test_other_counts_are_unknown(chain: list[dict[str, Any]]) -> None:
    assert count(*chain) is None
    assert files(saved(*chain)) is None


def test_only_the_image_output_is_counted() -> None:
    graph = saved(node("LoadImage", image="a.png"))
    graph["save"]["inputs"]["images"] = ["1", 1]
    assert save_nodes(graph)[0].count is None


def test_both_outputs_of_a_custom_sampler_are_counted() -> None:
    sampler = node("SamplerCustomAdvanced", latent_image=["1", 0])
    assert count(EMPTY, sampler, node("VAEDecode", samples=["2", 1])) == 3
    assert count(EMPTY, sampler, node("VAEDecode", samples=["2", 2])) is None


@pytest.mark.parametrize("version", AUDIO_NAMES)
def test_audio_has_a_name_of_each_version(version: str) -> None:
    classes = {"9": "SaveAudio", "10": "SaveAudioMP3", "11": "SaveAudioOpus"}
    graph = {key: node(name, audio=["1", 0], filename_prefix="x") for key, name in classes.items()}
    for one in numbered_files(graph, PROMPT_ID) or []:
        (file,) = AUDIO_NAMES[version][one.node_id]["audio"]
        spelled = [each.filename(1) for each in one.spellings()]
        assert (file["filename"] in spelled, file["subfolder"], len(set(spelled))) == (True, one.subfolder, 2)
