"""Videos, audio, latents and animated images of a real server: whole, checked, under their own extensions."""

from __future__ import annotations

from typing import Any

import pytest
from support.real_graphs import Graph, node
from support.real_scene import Scene, get, renders

import templates
from orchestrator.outputs import containers, wholeness
from orchestrator.outputs.media_length import seconds_of

FRAMES = 8
KINDS = ("images", "audio", "latents")
VIDEO = {"3": node("CreateVideo", images=["1", 0], fps=4.0)}
IMAGES: Graph = {"1": node("EmptyImage", width=64, height=48, batch_size=FRAMES, color=0)}
AUDIO: Graph = {"1": node("EmptyAudio", duration=1.5, sample_rate=48000, channels=1)}
LATENT: Graph = {"1": node("EmptyLatentImage", width=64, height=64, batch_size=1)}
CASES: dict[str, tuple[Graph, str, list[dict[str, Any]], float | None]] = {
    "video": (
        IMAGES | VIDEO | {"9": node("SaveVideo", video=["3", 0], filename_prefix="v", format="auto", codec="auto")},
        ".mp4",
        [{"1.color": 1}, {"1.color": 2}],
        2.0,
    ),
    "webm": (
        IMAGES | {"9": node("SaveWEBM", images=["1", 0], filename_prefix="v", codec="vp9", fps=4.0, crf=32.0)},
        ".webm",
        [{"1.color": 3}],
        2.0,
    ),
    "animated webp": (
        IMAGES
        | {
            "9": node(
                "SaveAnimatedWEBP",
                images=["1", 0],
                filename_prefix="v",
                fps=4.0,
                lossless=True,
                quality=80,
                method="default",
            )
        },
        ".webp",
        [{"1.color": 4}],
        None,
    ),
    "animated png": (
        IMAGES | {"9": node("SaveAnimatedPNG", images=["1", 0], filename_prefix="v", fps=4.0, compress_level=4)},
        ".png",
        [{"1.color": 5}],
        None,
    ),
    "flac": (
        AUDIO | {"9": node("SaveAudio", audio=["1", 0], filename_prefix="a")},
        ".flac",
        [{"1.duration": 1.5}],
        1.5,
    ),
    "mp3": (
        AUDIO | {"9": node("SaveAudioMP3", audio=["1", 0], filename_prefix="a", quality="128k")},
        ".mp3",
        [{"1.duration": 1.5}],
        1.5,
    ),
    "opus": (
        AUDIO | {"9": node("SaveAudioOpus", audio=["1", 0], filename_prefix="a", quality="64k")},
        ".opus",
        [{"1.duration": 1.5}],
        1.5,
    ),
    "audio shown": (AUDIO | {"9": node("PreviewAudio", audio=["1", 0])}, ".flac", [{"1.duration": 1.5}], 1.5),
    "latent": (
        LATENT | {"9": node("SaveLatent", samples=["1", 0], filename_prefix="l")},
        ".latent",
        [{"1.height": 64}],
        None,
    ),
}


def skip_without(url: str, graph: Graph) -> None:
    for one in graph.values():
        if not get(url, f"/object_info/{one['class_type']}"):
            pytest.skip(f"{url} has no {one['class_type']}")


@pytest.mark.parametrize("case", CASES)
def test_each_kind_arrives_whole_under_its_extension(scene: Scene, server_url: str, case: str) -> None:
    graph, extension, inputs, seconds = CASES[case]
    skip_without(server_url, graph)
    keys = scene.write(graph, inputs)

    said = scene.run(server_url)

    assert said.code == 0, said.words
    assert renders(server_url, scene) == dict.fromkeys(keys, 1)
    for key, item in scene.items().items():
        (output,) = item.outputs
        assert output.path == f"shots/{key[9:]}{extension}"
        path = scene.output / output.path
        assert containers.extension_of(".bin", wholeness.start_of(path)) == {".latent": ".safetensors"}.get(
            extension, extension
        )
        assert seconds_of(path) == (None if seconds is None else pytest.approx(seconds, abs=0.1))
        whole = path.read_bytes()
        for cut in (0, 10, len(whole) // 3, len(whole) // 2, len(whole) - 30):
            path.write_bytes(whole[:cut])
            assert wholeness.fault_of(extension, path) is not None, f"cut after {cut} of {len(whole)} bytes"
        path.write_bytes(whole)
    verified = scene.say("verify")
    assert verified.code == 0, verified.words
    assert verified.report["problems"] == []


@pytest.mark.parametrize("case", [case for case in CASES if case != "audio shown"])
def test_its_name_is_known_in_advance(scene: Scene, server_url: str, case: str) -> None:
    """As this version spells it: so it is found once the server has forgotten the prompt."""
    graph, _, inputs, _ = CASES[case]
    skip_without(server_url, graph)
    scene.write(graph, inputs[:1])
    assert scene.run(server_url).code == 0
    (item,) = scene.items().values()
    prompt_id = str(item.prompt_id)
    entry = get(server_url, f"/history/{prompt_id}")[prompt_id]
    (saved,) = [one for made in entry["outputs"].values() for kind in KINDS for one in made.get(kind, [])]
    (known,) = templates.numbered_files(graph, prompt_id) or []
    assert saved["filename"] in {spelled.filename(1) for spelled in known.spellings()}
    assert saved["subfolder"] == known.subfolder
