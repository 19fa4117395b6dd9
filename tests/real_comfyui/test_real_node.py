"""The nodes inside a real ComfyUI: a directory with one submission, kills, Cancel, somebody else's save node."""

from __future__ import annotations

import contextlib
import json
import shutil
import uuid
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests
from conftest import CHECKOUT, INTERPRETER
from PIL import Image
from support.real_graphs import node
from support.real_scene import get
from support.real_server import RealServer
from support.waiting import wait_until

from orchestrator.node_installation import install_node

pytestmark = pytest.mark.timeout(300)

COUNT = 25
STEP = 8
"""Between the colours of two images: some save nodes and formats shift a colour by one."""
NAMES = [f"img_{number}.{'jpg' if number % 5 == 0 else 'png'}" for number in range(1, COUNT + 1)]
"""In natural order, which is not the alphabet's; each number has a colour of its own."""


HOLD = """
import os
import time

import comfy.model_management


class HoldImage:
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "hold"

    @classmethod
    def INPUT_TYPES(cls):
        texts = {name: ("STRING", {}) for name in ("filename", "held", "flag")}
        return {"required": {"image": ("IMAGE",), **texts}}

    def hold(self, image, filename, held, flag):
        if os.path.splitext(filename)[0] == held:
            open(flag, "w").close()
            while True:
                comfy.model_management.throw_exception_if_processing_interrupted()
                time.sleep(0.02)
        return (image,)


NODE_CLASS_MAPPINGS = {"HoldImage": HoldImage}
"""
"""A node of ours in the server: it lets every image through but one, at which it stays until it is interrupted."""


class Studio:
    """A ComfyUI into which `burst node install` has put the nodes, and a directory of images."""

    def __init__(self, directory: Path) -> None:
        (directory / "custom_nodes").mkdir(parents=True)
        install_node(directory, link=False, force=False)
        (directory / "custom_nodes" / "hold").mkdir()
        (directory / "custom_nodes" / "hold" / "__init__.py").write_text(HOLD)
        nodes = ["burst", "hold"]
        self.server = RealServer(Path(CHECKOUT), interpreter=INTERPRETER, directory=directory, nodes=nodes)
        self.album = directory / "album"
        self.begin_anew()

    def begin_anew(self) -> None:
        shutil.rmtree(self.album, ignore_errors=True)
        self.album = self.album.parent / f"album_{uuid.uuid4().hex[:6]}"
        self.album.mkdir()
        for name in NAMES:
            self.add(name)

    def add(self, name: str) -> None:
        number = int(name.partition("_")[2].partition(".")[0])
        Image.new("RGB", (32, 24), (number * STEP,) * 3).save(self.album / name, quality=100)

    @property
    def is_held(self) -> Path:
        """There once the image is reached at which the server stays."""
        return self.album.parent / f"{self.album.name}.held"

    def post(self, *, blurs: int = 0, hold_at: str = "", saver: str = "BatchImageSaver", **inputs: Any) -> str:
        """One submission; its prompt_id. With blurs, each run takes about 0.2 s a blur.

        `hold_at`: the name, without extension, of the image at which it stays until it is interrupted.
        """
        usual = {"filter_preset": "All Images", "iteration_mode": "Continue", "error_handling": "Stop on error"}
        graph = {"1": node("BatchImageLoader", **{"directory": str(self.album), **usual, **inputs})}
        graph["2"] = node("ImageInvert", image=["1", 0])
        # Large enough to take a while, then small again.
        graph["3"] = node(
            "ImageScale", image=["2", 0], upscale_method="nearest-exact", width=640, height=480, crop="disabled"
        )
        for number in range(blurs):
            source = str(99 + number) if number else "3"
            graph[str(100 + number)] = node("ImageBlur", image=[source, 0], blur_radius=15, sigma=3.0)
        last = [str(99 + blurs) if blurs else "2", 0]
        if hold_at:
            graph["4"] = node("HoldImage", image=last, filename=["1", 5], held=hold_at, flag=str(self.is_held))
            last = ["4", 0]
        if saver == "BatchImageSaver":
            chosen = {
                "subfolder": self.album.name,
                "format": "same as original",
                "quality": 100,
                "if_exists": "overwrite",
            }
            graph["9"] = node(saver, image=last, filename=["1", 5], **chosen)
        else:
            graph["9"] = node(saver, images=last, filename_prefix=f"{self.album.name}/f")
        answer = requests.post(f"{self.server.url}/prompt", json={"prompt": graph, "client_id": "me"}, timeout=30)
        assert answer.status_code == 200, answer.text
        prompt_id: str = answer.json()["prompt_id"]
        return prompt_id

    @property
    def saved(self) -> list[Path]:
        """What was saved, under a final name."""
        return sorted((self.server.output / self.album.name).glob("[!.]*"))

    def numbers(self) -> Counter[int]:
        """Which images the saved pictures were made from, by their colour."""
        found: Counter[int] = Counter()
        for path in self.saved:
            # SaveImage writes straight to the final name: a kill may have cut one short.
            with contextlib.suppress(OSError, SyntaxError), Image.open(path) as picture:
                found[round((255 - picture.convert("RGB").getpixel((0, 0))[0]) / STEP)] += 1
        return found

    def has_done(self, count: int) -> bool:
        return self.statuses()["completed"] >= count

    def idle(self) -> bool:
        return get(self.server.url, "/prompt")["exec_info"]["queue_remaining"] == 0

    def wait(self) -> None:
        """Until nothing runs or waits for a while that is long beside what lies between two runs."""
        quiet = [0]

        def is_quiet() -> bool:
            quiet[0] = quiet[0] + 1 if self.idle() else 0
            return quiet[0] > 60

        wait_until(is_quiet, what="the queue stays empty", seconds=120)

    def runs(self) -> list[dict[str, Any]]:
        """What the server's history holds of this album."""
        return [each for each in get(self.server.url, "/history").values() if self.album.name in str(each["prompt"][2])]

    def statuses(self) -> Counter[str]:
        """By the position's file; nothing before the first run has begun."""
        paths = (self.album.parent / "user" / "__burst").glob(f"{self.album.name}-*.json")
        return Counter(record["status"] for path in paths for record in json.loads(path.read_text()).values())


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    yield from _open(tmp_path_factory.mktemp("studio"))


@pytest.fixture
def studio(lasting: Studio) -> Studio:
    """A server that several tests use, with images of this test's own."""
    lasting.begin_anew()
    return lasting


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[Studio]:
    """A server of this test's own, to be killed."""
    yield from _open(tmp_path / "studio")


def _open(directory: Path) -> Iterator[Studio]:
    if not CHECKOUT:
        pytest.skip("COMFYUI_DIR is not set: this test starts a ComfyUI of its own")
    opened = Studio(directory)
    with opened.server:
        yield opened


def test_a_directory_with_one_submission(studio: Studio) -> None:
    first = studio.post()
    studio.wait()

    assert [path.name for path in studio.saved] == sorted(NAMES)
    assert studio.numbers() == Counter(range(1, COUNT + 1))
    runs = studio.runs()
    assert len(runs) == COUNT
    assert {run["status"]["status_str"] for run in runs} == {"success"}
    assert {run["prompt"][3]["client_id"] for run in runs} == {"me"}
    assert runs[0]["prompt"][1] == first
    assert studio.statuses() == {"completed": COUNT}


@pytest.mark.parametrize("saver", ["BatchImageSaver", "SaveImage"])
def test_killed_in_the_middle_and_gone_on_with_by_one_submission(mortal: Studio, saver: str) -> None:
    """A kill -9 at about the tenth image. None is lost; none is rendered twice but the one that was cut short."""
    mortal.post(blurs=2, saver=saver)
    wait_until(lambda: len(list(mortal.server.output.rglob("[!.]*.[pj]*g"))) >= 10, what="ten are saved", seconds=120)
    mortal.server.kill()
    before = mortal.statuses()
    on_disk = {path: path.stat().st_mtime_ns for path in mortal.saved}
    assert before["submitted"] <= 1
    assert 9 <= before["completed"] < COUNT

    mortal.server.start()
    assert mortal.idle(), "a restart alone goes on with nothing"
    mortal.post(blurs=2, saver=saver)
    mortal.wait()

    assert mortal.statuses() == {"completed": COUNT}
    runs = mortal.runs()
    assert len(runs) == COUNT - before["completed"]
    if saver == "BatchImageSaver":
        assert [path.name for path in mortal.saved] == sorted(NAMES)
        rewritten = [path for path, when in on_disk.items() if path.stat().st_mtime_ns != when]
        assert len(rewritten) <= before["submitted"]
    else:
        colours = mortal.numbers()
        assert set(colours) == set(range(1, COUNT + 1)), "at least once"
        assert colours.total() - COUNT <= before["submitted"]


def test_a_kill_at_any_moment(mortal: Studio) -> None:
    """Four kills, each after one image more or two; then one submission works off the rest."""
    rendered = 0
    for kill in range(4):
        mortal.post(blurs=1)
        goal = rendered + 1 + kill % 2
        wait_until(partial(mortal.has_done, goal), what=f"{goal} are done", seconds=60)
        mortal.server.kill()
        rendered = mortal.statuses()["completed"]
        mortal.server.start()
    mortal.post()
    mortal.wait()

    assert len(mortal.runs()) == COUNT - rendered
    assert mortal.numbers() == Counter(range(1, COUNT + 1))


def test_cancel_keeps_the_index(studio: Studio) -> None:
    """Nothing waits behind the cancelled run; one press goes on with the very image that was cancelled."""
    studio.post(hold_at="img_3")
    wait_until(studio.is_held.exists, what="the third is being rendered", seconds=60)
    running = wait_until(lambda: get(studio.server.url, "/queue")["queue_running"], what="a run")
    requests.post(f"{studio.server.url}/interrupt", timeout=30)
    wait_until(lambda: get(studio.server.url, f"/history/{running[0][1]}"), what="the run has ended")
    studio.wait()

    assert studio.statuses() == {"completed": 2, "pending": COUNT - 2}
    studio.post()
    studio.wait()

    assert studio.numbers() == Counter(range(1, COUNT + 1))
    ended = Counter(run["status"]["status_str"] for run in studio.runs())
    assert ended == {"success": COUNT, "error": 1}


def test_somebody_elses_save_node(studio: Studio) -> None:
    studio.post(saver="SaveImage")
    studio.wait()

    assert studio.numbers() == Counter(range(1, COUNT + 1))
    assert len(studio.runs()) == COUNT


def test_images_come_and_go(studio: Studio) -> None:
    """Before the place, behind it, and the next one: no image is taken for another, none is left out."""
    studio.post(blurs=3)
    wait_until(lambda: studio.has_done(3), what="three are done", seconds=60)
    for name in ("img_24.png", "img_1.png"):
        (studio.album / name).unlink()
    for name in ("img_0.png", "img_30.png"):
        studio.add(name)
    studio.wait()

    assert studio.numbers() == Counter([0, *range(1, 24), 25, 30])
    assert len(studio.runs()) == COUNT + 1


def test_an_image_that_cannot_be_read(studio: Studio) -> None:
    """Skipped; the others are done. It is the one that the next press begins with."""
    (studio.album / "img_3.png").write_bytes(b"no picture")
    studio.post(error_handling="Skip on error")
    studio.wait()
    assert studio.statuses() == {"completed": COUNT - 1, "failed": 1}
    assert len(studio.runs()) == COUNT - 1

    studio.add("img_3.png")
    studio.post()
    studio.wait()

    assert studio.numbers() == Counter(range(1, COUNT + 1))
    assert len(studio.runs()) == COUNT


def test_queue_pressed_three_times_at_once(studio: Studio) -> None:
    for _ in range(3):
        studio.post()
    studio.wait()

    assert len(studio.runs()) == COUNT
    assert studio.numbers() == Counter(range(1, COUNT + 1))


def test_a_directory_that_is_not_there_is_refused_at_once(studio: Studio) -> None:
    with pytest.raises(AssertionError, match="is not there"):
        studio.post(directory=str(studio.album / "nowhere"))
