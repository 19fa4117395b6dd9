"""Screenshots of twelve views, light and dark, at four widths: `python -m tests.web.screenshots DIR [SCENE…]`.

To be looked at after a change of how the pages look. Scenes beyond the twelve are taken by name (`away`, `trash`).
`python -m tests.web.screenshots --docs` takes those of the README anew. Needs Playwright and a Chromium.
"""

from __future__ import annotations

import contextlib
import io
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator
from itertools import product
from pathlib import Path
from typing import Any

from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from support.chromium import chromium_path, running_chromium
from support.projects import small_template, unusable_template
from support.serving import Served
from support.waiting import wait_until

from orchestrator.sandbox import Sandbox, SandboxSettings

PHONE: dict[str, Any] = {"has_touch": True, "is_mobile": True, "device_scale_factor": 2}
DEVICES: tuple[tuple[dict[str, Any], tuple[tuple[int, int], ...]], ...] = (
    (PHONE, ((390, 844),)),
    ({}, ((1100, 760), (1440, 900), (2560, 1440))),
)
"""What a browser is like, and the sizes of its window."""
SCHEMES = ("light", "dark")
OWL = "An owl in the snow at night, moonlight, feathers in sharp focus"
SHIP = "A paper ship in a puddle, macro, rain, neon signs mirrored in the water around it"
PROMPT = "A lighthouse on a cliff at dusk, long shadows over the dunes, film grain"
PACE_SECONDS = 0.8
STANDING_SECONDS = 60.0
# An image that is to be loaded when it comes into sight would be waited for without end.
DRAWN = """() => [...document.querySelectorAll('canvas.thumbnail')].every((one) => {
  const { top, bottom, width } = one.getBoundingClientRect();
  return one.width || !width || bottom < 0 || top > innerHeight;
})"""
LOADED = "all => Promise.all(all.map(one => { one.loading = 'eager'; return one.decode().catch(() => {}); }))"

Scene = Callable[["Set", Any], Iterator[None]]
"""Brings the page to where it is taken, yields, and clears up."""


class Set:
    """What the scenes are taken of."""

    def __init__(self, sandbox: Sandbox, served: Served, picky: Served, stuck: Served, unused: Served) -> None:
        """`picky`: takes every seed for the number of steps, so that ComfyUI refuses 0 and large ones.

        `stuck`: has a workflow that ComfyUI refuses. `unused`: has made nothing.
        """
        self.sandbox, self.served, self.picky, self.stuck, self.unused = sandbox, served, picky, stuck, unused
        self.usual = sandbox.settings
        stuck.burst("generate", "--prompt", PROMPT, "--count", "4", "--name", "lighthouses", "--queue-only")
        sweeps = ("cfg=3,5,7,9", "steps=2,4,8", "sampler=euler,dpmpp_2m")
        axes = [word for sweep in sweeps for word in ("--sweep", sweep)]
        served.burst("generate", "--prompt", PROMPT, *axes, "--name", "sweep")
        served.made(SHIP, count=7, baseParameters={"width": 640, "height": 960})
        served.made(f"{SHIP}, at dawn", count=5, baseParameters={"width": 1152, "height": 640})
        served.made(OWL, count=12)
        self.complete = served.made(PROMPT, count=8)
        self.partial = picky.made(PROMPT, count=4, seedMode="incremental", baseSeed=0)
        self.failed = picky.made(PROMPT, count=3)

    def under_way(self, page: Any, *, images: int, served: Served | None = None, **said: Any) -> str:
        """A batch with so many images there, and one under way for as long as anybody looks; the page shows it."""
        quick = [PACE_SECONDS / 4] * images
        self.sandbox.change(seconds_next=quick, seconds_per_prompt=STANDING_SECONDS, latent_previews=True)
        served = served or self.served
        batch = served.begin(PROMPT, count=12, **{"baseParameters": {"steps": 12}} | said)
        page.goto(f"{served.url}/?batch={batch}")
        page.locator(".shot-picture img:not(.shot-preview)").nth(images - 1).wait_for()
        page.locator(".shot-preview").wait_for()
        return batch

    def stop(self) -> None:
        """Nothing is under way any more."""
        self.sandbox.change(**self.usual.as_dict())
        for served in (self.served, self.picky):
            served.cancel_all()


def form(_: Set, page: Any) -> Iterator[None]:
    page.goto("/")
    page.get_by_label("Prompt", exact=True).fill(PROMPT)
    for group in page.locator("#batch-form summary").all():
        group.click()
    page.get_by_text("Randomize seeds").click()
    yield


def sweep(_: Set, page: Any) -> Iterator[None]:
    """Two prompts, each with all values of an axis, and what that comes to."""
    page.goto("/")
    page.get_by_label("Prompt", exact=True).fill(f"{PROMPT}\nAn owl in the snow at night, moonlight")
    page.get_by_label("One prompt per line").check()
    page.locator("#group-axes summary").click()
    page.locator("#axes-add").click()
    page.get_by_label("Values of axis 1").fill("5..9 step 2")
    page.locator("#forecast", has_text="combinations").wait_for()
    yield


def mistakes(_: Set, page: Any) -> Iterator[None]:
    page.goto("/")
    page.get_by_label("Number of images").fill("21")
    page.get_by_role("button", name="Generate Batch").click()
    yield


def start(scene: Set, page: Any) -> Iterator[None]:
    """One batch is under way, others were made."""
    scene.under_way(page, images=4)
    page.goto("/")
    page.locator(".feed-preview:not([hidden])").wait_for()
    yield
    scene.stop()


def recent(_: Set, page: Any) -> Iterator[None]:
    page.goto("/")
    page.get_by_role("radio", name="Recent batches").check()
    page.locator(".feed-batch").first.wait_for()
    yield


def unused(scene: Set, page: Any) -> Iterator[None]:
    page.goto(scene.unused.url)
    page.locator("#feed-note").wait_for()
    yield


def comfyui_away(scene: Set, page: Any) -> Iterator[None]:
    scene.sandbox.change(unavailable_rate=1.0)
    # What ComfyUI said is kept for a few seconds.
    wait_until(lambda: not scene.served.answer("GET", "/api/options")["server"]["reachable"])
    page.goto("/")
    page.locator("#server-away").wait_for()
    yield
    scene.sandbox.change(unavailable_rate=0.0)


def progress(scene: Set, page: Any) -> Iterator[None]:
    scene.under_way(page, images=4)
    yield
    scene.stop()


def cancelled(scene: Set, page: Any) -> Iterator[None]:
    scene.under_way(page, images=2)
    page.get_by_role("button", name="Cancel").click()
    page.get_by_text("Batch cancelled").wait_for()
    yield
    scene.stop()


def failing(scene: Set, page: Any) -> Iterator[None]:
    scene.under_way(page, images=2, served=scene.picky, seedMode="incremental", baseSeed=0)
    yield
    scene.stop()


def partly_failed(scene: Set, page: Any) -> Iterator[None]:
    page.goto(f"{scene.picky.url}/?batch={scene.partial}")
    page.locator("#partial summary").click()
    yield


def all_failed(scene: Set, page: Any) -> Iterator[None]:
    page.goto(f"{scene.picky.url}/?batch={scene.failed}")
    page.locator("#failure").wait_for()
    yield


def comparison(scene: Set, page: Any) -> Iterator[None]:
    page.goto(f"/?batch={scene.complete}")
    boxes = page.locator("#grid").get_by_role("checkbox")
    boxes.nth(1).check()
    boxes.nth(4).check()
    page.evaluate("scrollTo(0, 0)")
    yield


def pair(scene: Set, page: Any) -> Iterator[None]:
    next(comparison(scene, page))
    page.get_by_role("button", name="Compare side by side").click()
    yield


def slider(scene: Set, page: Any) -> Iterator[None]:
    next(pair(scene, page))
    page.get_by_role("radio", name="Slider").check()
    page.get_by_role("button", name="Zoom in").click()
    yield


def compare_four(scene: Set, page: Any) -> Iterator[None]:
    page.goto(f"/?batch={scene.complete}&compare=1,2,3,4")
    page.locator("#stage img").nth(3).wait_for()
    yield


def viewer(scene: Set, page: Any) -> Iterator[None]:
    page.goto(f"/?batch={scene.complete}&image={scene.complete}%2F3")
    page.locator("#viewer-command").get_by_text("burst generate").wait_for()
    yield


def more_like_this(scene: Set, page: Any) -> Iterator[None]:
    next(viewer(scene, page))
    page.get_by_role("button", name="More like this").click()
    page.locator("#more-note").get_by_text("seeds").wait_for()
    page.get_by_label("Start from this image").check()
    yield


def a_stage(scene: Set, page: Any) -> Iterator[None]:
    next(viewer(scene, page))
    page.get_by_role("button", name="Add a stage").click()
    page.locator("#stage-list input").first.wait_for()
    yield


def upscale(scene: Set, page: Any) -> Iterator[None]:
    next(viewer(scene, page))
    page.get_by_role("button", name="Upscale", exact=True).click()
    page.locator("#upscale-list .stage-choice").first.wait_for()
    yield


def viewer_of_failed(scene: Set, page: Any) -> Iterator[None]:
    page.goto(f"{scene.picky.url}/?batch={scene.failed}&image={scene.failed}%2F2")
    page.locator("#viewer-retry").wait_for()
    yield


def grid(_: Set, page: Any) -> Iterator[None]:
    page.goto("/grid?batch=sweep")
    page.locator("#grid-table img").nth(11).wait_for()
    yield


def away(scene: Set, page: Any) -> Iterator[None]:
    scene.under_way(page, images=1)
    scene.served.kill()
    page.locator("#batch-alert").wait_for()
    yield
    scene.served.start()
    scene.stop()


def gallery(_: Set, page: Any) -> Iterator[None]:
    page.goto("/gallery")
    page.locator("main .thumbnail").first.wait_for()
    yield


def chosen(scene: Set, page: Any) -> Iterator[None]:
    next(gallery(scene, page))
    boxes = page.locator(".tile-pick")
    boxes.nth(1).check()
    boxes.nth(3).check()
    yield


def batches(_: Set, page: Any) -> Iterator[None]:
    page.goto("/gallery?view=batches")
    page.locator(".batch img").first.wait_for()
    yield


def trash(scene: Set, page: Any) -> Iterator[None]:
    batch = scene.served.made(OWL, count=3)
    scene.served.answer("DELETE", f"/api/batches/{batch}")
    page.goto("/gallery?view=trash")
    page.locator("#trash img").first.wait_for()
    yield


def missing(_: Set, page: Any) -> Iterator[None]:
    page.goto("/nothing")
    yield


def set_aside(scene: Set, page: Any) -> Iterator[None]:
    page.goto(f"{scene.stuck.url}/?batch=lighthouses")
    page.locator("#set-aside li").wait_for()
    yield


def states_set_aside(scene: Set, page: Any) -> Iterator[None]:
    page.goto(f"{scene.stuck.url}/states")
    page.locator("#set-aside li").wait_for()
    yield


def states(scene: Set, page: Any) -> Iterator[None]:
    page.goto(f"{scene.picky.url}/states")
    page.get_by_text("the server rejected the prompt").first.wait_for()
    yield


def queue(scene: Set, page: Any) -> Iterator[None]:
    """Two batches: one is rendered, the other waits; and one item failed before."""
    scene.under_way(page, images=2, served=scene.picky, seedMode="incremental", baseSeed=1)
    scene.picky.begin("An owl in the snow at night, moonlight", count=5)
    page.locator("#queue-open").click()
    page.locator("#queue-next li").nth(1).wait_for()
    page.locator("#queue-servers .badge").wait_for()
    yield
    scene.stop()


VIEWS: tuple[Scene, ...] = (
    unused,
    form,
    start,
    progress,
    comparison,
    partly_failed,
    viewer,
    slider,
    grid,
    gallery,
    states,
    queue,
)
"""Those that are always taken."""
OTHERS: tuple[Scene, ...] = (
    sweep,
    mistakes,
    recent,
    comfyui_away,
    failing,
    cancelled,
    all_failed,
    pair,
    compare_four,
    more_like_this,
    a_stage,
    upscale,
    viewer_of_failed,
    away,
    chosen,
    batches,
    trash,
    set_aside,
    states_set_aside,
    missing,
)
"""Those that are taken by name."""


DOCS: dict[str, tuple[Scene, dict[str, Any]]] = {
    "browser-workspace.webp": (start, {"viewport": {"width": 1280, "height": 800}, "device_scale_factor": 1.5}),
    "browser-comparison.webp": (slider, {"viewport": {"width": 1040, "height": 620}}),
}
"""What the documents show."""


RECORDING = "browser-arriving.webp"
"""A batch that arrives, from the press of the button to its last image."""
_RECORDED = {"width": 1040, "height": 640}
_FRAME_SECONDS = 0.3
_LAST_FRAMES = 8


@contextlib.contextmanager
def staged(settings: SandboxSettings | None = None) -> Iterator[tuple[Set, Callable[..., Any]]]:
    """The stage, and what opens a page on it: `visit(color_scheme="dark")`."""
    template = small_template()
    template["5"]["inputs"] |= {"width": 768, "height": 768}
    binding = ["--bind", "seed=3.seed,3.steps"]
    with (
        tempfile.TemporaryDirectory() as home,
        tempfile.TemporaryDirectory() as other,
        tempfile.TemporaryDirectory() as third,
        tempfile.TemporaryDirectory() as fourth,
        Sandbox(settings) as sandbox,
        Served(Path(home), servers=[sandbox.url], template=template) as served,
        Served(Path(other), servers=[sandbox.url], template=template, options=binding) as picky,
        Served(Path(third), servers=[sandbox.url], template=unusable_template()) as stuck,
        Served(Path(fourth), servers=[sandbox.url], template=template) as unused,
        running_chromium(chromium_path() or "chromium") as browser,
    ):
        stage = Set(sandbox, served, picky, stuck, unused)
        yield stage, lambda **look: browser.new_context(base_url=served.url, **look).new_page()


def wait_for_images(page: Any) -> None:
    """Until all that is in the window is drawn."""
    page.locator("img[src]").evaluate_all(LOADED)
    page.wait_for_function(DRAWN)


def take(page: Any, path: Path) -> None:
    wait_for_images(page)
    page.screenshot(path=path)
    print(path, flush=True)


def record(stage: Set, page: Any, path: Path) -> None:
    """An animated WebP of a batch of eight that is typed, begun and rendered."""
    frames: list[Image.Image] = []

    def shoot() -> None:
        frames.append(Image.open(io.BytesIO(page.screenshot())).convert("RGB"))

    stage.sandbox.change(seconds_per_prompt=PACE_SECONDS, latent_previews=True)
    page.goto(stage.served.url)
    page.locator("#prompt").press_sequentially(PROMPT, delay=0)
    page.locator("#batchCount").fill("8")
    for _ in range(2):
        shoot()
    page.get_by_role("button", name="Generate Batch").click()
    while not page.locator("#comparison").is_visible():
        shoot()
        page.wait_for_timeout(1000 * _FRAME_SECONDS)
    wait_for_images(page)
    for _ in range(_LAST_FRAMES):
        shoot()
    first, *others = frames
    first.save(
        path, save_all=True, append_images=others, duration=int(1000 * _FRAME_SECONDS), loop=0, quality=70, method=6
    )
    page.context.close()
    stage.sandbox.change(**stage.usual.as_dict())
    print(path)


def take_all(directory: Path, names: Collection[str]) -> None:
    """As `SCENE-WIDTH-SCHEME.png`."""
    directory.mkdir(parents=True, exist_ok=True)
    chosen_scenes = [one for one in (*VIEWS, *OTHERS) if one.__name__ in names] if names else VIEWS
    with staged() as (stage, visit):
        for scene in chosen_scenes:
            for device, sizes in DEVICES:
                page = visit(viewport=_size(sizes[0]), **device)
                for _ in scene(stage, page):
                    for size, scheme in product(sizes, SCHEMES):
                        page.set_viewport_size(_size(size))
                        page.emulate_media(color_scheme=scheme)
                        take(page, directory / f"{scene.__name__}-{size[0]}-{scheme}.png")
                page.context.close()


def _size(sides: tuple[int, int]) -> dict[str, int]:
    return dict(zip(("width", "height"), sides, strict=True))


def take_docs() -> None:
    """As small files. Nothing is written on the images."""
    docs = Path(__file__).resolve().parents[2] / "docs"
    with staged(SandboxSettings(hide_captions=True)) as (stage, visit):
        record(stage, visit(viewport=_RECORDED, color_scheme="light"), docs / RECORDING)
        for name, (scene, look) in DOCS.items():
            page = visit(**look)
            for _ in scene(stage, page):
                wait_for_images(page)
                with Image.open(io.BytesIO(page.screenshot())) as shot:
                    shot.convert("RGB").save(docs / name, quality=85, method=6)
            page.context.close()


if __name__ == "__main__":
    first, *rest = sys.argv[1:]
    if first == "--docs":
        take_docs()
    else:
        take_all(Path(first), rest)
