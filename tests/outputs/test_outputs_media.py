"""Videos, audio, 3D, latents, animated images: whole or not taken, and under the extension of what they are."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.comfyui_loopback import Loopback, MovedClock
from support.media_files import by_extension, program
from support.served_outputs import ID, Server, file, png, there

from orchestrator.comfyui import ComfyUI
from orchestrator.errors import OutputDamaged, StopBurst
from orchestrator.outputs import Outputs, containers, ffmpeg, wholeness
from orchestrator.outputs.containers import Kind, kind_of
from orchestrator.outputs.verification import damaged
from state.item import OutputRecord

PAGE = b"<!DOCTYPE html>\n<html><head><title>502 Bad Gateway</title></head></html>"
EXTENSIONS = sorted(by_extension())
MEDIA = [extension for extension in EXTENSIONS if kind_of(f"a{extension}") is not Kind.IMAGE]


@pytest.fixture(autouse=True)
def _no_programs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def client(server: Server) -> Iterator[ComfyUI]:
    with Loopback(server.answer) as loopback, ComfyUI(loopback.url, clock=MovedClock()) as client:
        yield client


def collected(tmp_path: Path, client: ComfyUI, *names: str) -> dict[str, bytes]:
    outputs = Outputs(tmp_path / "out")
    files = [file(name) for name in names]
    fetched = outputs.fetch(client, files, [], subfolder="", filename="cat.txt", prompt_id=ID, own=())
    outputs.place([fetched])
    return there(outputs)


def put(tmp_path: Path, data: bytes, extension: str = ".bin") -> Path:
    path = tmp_path / f"file{extension}"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_each_kind_keeps_its_extension_and_one_without_gets_it(
    extension: str, tmp_path: Path, server: Server, client: ComfyUI
) -> None:
    data = by_extension()[extension]
    usual = {".latent": ".safetensors"}.get(extension, extension)
    server.files = {f"clip_00001_{extension}": data, "clip_00002_": data}
    found = collected(tmp_path, client, *server.files)
    assert found == {f"cat{extension}": data, f"cat_002{usual}": data}


@pytest.mark.parametrize(
    ("served", "extension", "right"),
    [
        (".mp4", ".webm", ".webm"),
        (".png", ".webp", ".webp"),
        (".webp", ".gif", ".gif"),
        (".flac", ".mp3", ".mp3"),
        (".mp3", ".opus", ".opus"),
        (".png", ".mp4", ".mp4"),
        (".ogg", ".opus", ".ogg"),
        (".apng", ".png", ".apng"),
        (".mov", ".mp4", ".mov"),
        (".mkv", ".webm", ".mkv"),
        (".safetensors", ".latent", ".safetensors"),
        (".xyz", ".mp4", ".xyz"),
    ],
)
def test_a_name_of_another_format_gives_way_to_what_the_bytes_are(
    served: str, extension: str, right: str, tmp_path: Path, server: Server, client: ComfyUI
) -> None:
    server.files = {f"a{served}": by_extension()[extension]}
    assert list(collected(tmp_path, client, *server.files)) == [f"cat{right}"]


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_no_cut_file_is_taken(extension: str, tmp_path: Path) -> None:
    data = by_extension()[extension]
    path = put(tmp_path, data, extension)
    assert wholeness.fault_of(extension, path) is None
    taken = []
    for cut in sorted({*range(0, len(data), max(1, len(data) // 50)), *range(len(data) - 12, len(data))}):
        path.write_bytes(data[:cut])
        if wholeness.fault_of(extension, path) is None:
            taken.append(cut)
    # What stands behind the end marker of an image is no fault.
    assert [cut for cut in taken if extension not in (".png", ".gif", ".webp") or cut < len(data) - 4] == []


@pytest.mark.parametrize("extension", EXTENSIONS)
@pytest.mark.parametrize("data", [PAGE, b"\n  <html>no", b'{"error": "no such file"}', b""])
def test_no_page_or_message_is_taken_for_a_file(extension: str, data: bytes, tmp_path: Path) -> None:
    assert wholeness.fault_of(extension, put(tmp_path, data, extension)) is not None


def test_a_page_in_place_of_a_video_fails_the_item_and_leaves_nothing(
    tmp_path: Path, server: Server, client: ComfyUI
) -> None:
    server.files = {"a.png": png(1), "a.mp4": PAGE}
    with pytest.raises(OutputDamaged, match=r"the output a\.mp4 of node 9 is a web page: something between"):
        collected(tmp_path, client, *server.files)
    assert there(Outputs(tmp_path / "out")) == {}


@pytest.mark.parametrize(
    ("extension", "data"),
    [
        (".obj", b"v 0 0 0\n"),
        (".svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>"),
        (".txt", PAGE),
        (".html", PAGE),
        (".ply", b"ply\nformat ascii 1.0\n"),
        (".bin", b"whatever it is"),
        (".json", b'{"a": 1}'),
        (".mp3", b"\0\0 junk before the first frame"),
    ],
)
def test_what_is_not_known_is_left_alone(extension: str, data: bytes, tmp_path: Path) -> None:
    path = put(tmp_path, data, extension)
    assert wholeness.fault_of(extension, path) is None
    assert containers.extension_of(extension, wholeness.start_of(path)) == extension


def test_streams_of_unknown_length_are_taken(tmp_path: Path) -> None:
    """A WebM and a WAV that were written to a pipe."""
    webm, wav = bytearray(by_extension()[".webm"]), bytearray(by_extension()[".wav"])
    at = webm.index(b"\x18\x53\x80\x67") + 4
    webm[at : at + 8] = b"\x01" + b"\xff" * 7
    wav[4:8] = b"\xff" * 4
    assert wholeness.fault_of(".webm", put(tmp_path, bytes(webm), ".webm")) is None
    assert wholeness.fault_of(".wav", put(tmp_path, bytes(wav), ".wav")) is None


GOOD = 'echo \'{"streams": [{"codec_type": "video"}], "format": {}}\''


@pytest.mark.parametrize(
    ("script", "fault"),
    [
        (GOOD, None),
        ("echo '{\"streams\": []}'", "holds neither video nor audio"),
        ("echo 'x.mp4: Invalid data found when processing input' >&2; exit 1", "cannot be read by ffprobe"),
        ("echo 'x.mp4: Permission denied' >&2; exit 1", None),
        ("echo 'ffprobe: cannot open shared object file' >&2; exit 127", None),
        ("echo 'no JSON'", None),
        ("echo '[1]'", None),
        ('echo \'{"streams": "none"}\'', None),
        ("kill -9 $$", None),
        ("exit 3", None),
    ],
)
def test_what_ffprobe_says_counts_and_its_own_trouble_does_not(script: str, fault: str | None, tmp_path: Path) -> None:
    program(tmp_path / "bin", "ffprobe", script)
    found = wholeness.fault_of(".mp4", put(tmp_path, by_extension()[".mp4"], ".mp4"))
    assert (found is None) if fault is None else (found is not None and fault in found)


def test_ffprobe_is_asked_of_video_and_audio_alone(tmp_path: Path) -> None:
    program(tmp_path / "bin", "ffprobe", "echo '{\"streams\": []}'")
    faulty = [one for one in EXTENSIONS if wholeness.fault_of(one, put(tmp_path, by_extension()[one], one)) is not None]
    assert faulty == [".flac", ".mp3", ".mp4", ".opus", ".wav", ".webm"]


def test_a_name_is_no_option_and_no_address(tmp_path: Path) -> None:
    program(tmp_path / "bin", "ffprobe", f'for last; do :; done; echo "$last" >{tmp_path}/asked; {GOOD}')
    path = put(tmp_path, by_extension()[".mp4"], "-i http:x.mp4")
    assert ffmpeg.fault_of(path) is None
    assert (tmp_path / "asked").read_text() == f"file:{path}\n"


def test_a_program_that_hangs_is_given_up_and_not_asked_again(tmp_path: Path) -> None:
    program(
        tmp_path / "bin", "ffprobe", f"echo asked >>{tmp_path}/asked; exec {shutil.which('sleep', path=os.defpath)} 60"
    )
    path = put(tmp_path, by_extension()[".mp4"], ".mp4")
    assert ffmpeg.fault_of(path, seconds=0.5) is None
    assert not ffmpeg.has("ffprobe")
    assert ffmpeg.fault_of(path, seconds=0.5) is None
    assert (tmp_path / "asked").read_text().count("asked") <= 1


def test_a_burst_that_stops_does_not_wait_for_it(tmp_path: Path) -> None:
    program(tmp_path / "bin", "ffprobe", f"exec {shutil.which('sleep', path=os.defpath)} 60")
    calls = []

    def check() -> None:
        calls.append(len(calls))
        if len(calls) > 1:
            raise StopBurst("the burst was stopped")

    with pytest.raises(StopBurst):
        wholeness.fault_of(".mp4", put(tmp_path, by_extension()[".mp4"], ".mp4"), check=check)
    assert ffmpeg.has("ffprobe"), "it did not hang: nobody waited for it"


def test_a_fault_that_ffprobe_finds_fails_the_item(tmp_path: Path, server: Server, client: ComfyUI) -> None:
    program(tmp_path / "bin", "ffprobe", "echo '{\"streams\": []}'")
    server.files = {"a.mp4": by_extension()[".mp4"]}
    with pytest.raises(OutputDamaged, match=r"a\.mp4 of node 9 holds neither video nor audio"):
        collected(tmp_path, client, "a.mp4")


def test_verify_names_what_was_never_whole(tmp_path: Path) -> None:
    """Recorded by a burst that did not look."""
    cut = {extension: by_extension()[extension][:-20] for extension in MEDIA}
    for extension, data in cut.items():
        put(tmp_path, data, extension)
    records = [
        OutputRecord(path=f"file{extension}", bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
        for extension, data in cut.items()
    ]
    found = damaged(tmp_path, records)
    assert [(one.path, one.kind) for one in found] == [(f"file{extension}", "damaged") for extension in MEDIA]
    assert all("as it came from the server" in one.message for one in found)
    assert (
        damaged(tmp_path, [OutputRecord(path=path, bytes=1, sha256="00") for path in ("gone.mp4", "../out.mp4")]) == []
    )


@pytest.mark.skipif(shutil.which("ffprobe") is None, reason="no ffprobe on the PATH")
@pytest.mark.parametrize("extension", [".mp4", ".webm", ".flac", ".mp3", ".opus", ".wav"])
def test_the_real_ffprobe_takes_each_of_ours(extension: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", os.defpath)
    path = put(tmp_path, by_extension()[extension], extension)
    assert ffmpeg.fault_of(path) is None
    said = subprocess.run(
        ["ffprobe", "-v", "error", "-show_format", "-of", "json", str(path)], capture_output=True, check=True
    )
    assert float(json.loads(said.stdout)["format"]["duration"]) > 0.4
