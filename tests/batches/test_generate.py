"""`burst generate`: the criteria BUS-BATCH-IMG-001 to 015, and what else a batch promises."""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.background import Threads
from support.leases import at_work
from support.waiting import wait_until

from orchestrator.batches.generate_report import Generated, Planned
from orchestrator.batches.spec import BatchSpec
from orchestrator.cycle.progress import Generating
from orchestrator.cycle.request import Request
from orchestrator.cycle.run import run_burst
from orchestrator.errors import BurstError, UsageError
from orchestrator.generation import Generation
from orchestrator.sandbox import Sandbox, SandboxSettings
from orchestrator.settings import Overrides
from state.item import Item, Status
from state.open_store import open_store, parts_of

Make = Callable[..., "Made"]
BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)


class Made:
    """One call of generate, what it printed, and what it left."""

    def __init__(self, home: Path, outcome: Generated | Planned, said: str) -> None:
        self.home, self.outcome, self.said = home, outcome, said
        self.output = home / "renders"

    @property
    def generated(self) -> Generated:
        assert isinstance(self.outcome, Generated)
        return self.outcome

    @property
    def pictures(self) -> list[str]:
        return sorted(path.relative_to(self.output).as_posix() for path in self.output.rglob("*.png"))

    @property
    def items(self) -> list[Item]:
        store = open_store(self.home / "state.json", read_only=True)
        try:
            return [item for item in store.items() if item.batch == self.generated.record.batch]
        finally:
            store.close()

    def inputs(self, name: str) -> list[Any]:
        return [item.inputs.get(name) for item in self.items]


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(SandboxSettings()) as running:
        yield running


@pytest.fixture
def make(tmp_path: Path, sandbox: Sandbox) -> Make:
    def call(*, template: str | None = "txt2img-sd15", servers: tuple[str, ...] = (), **said: Any) -> Made:
        how = {name: said.pop(name) for name in ("queue_only", "dry_run") if name in said}
        attempts = said.pop("max_attempts", 3)
        overrides = Overrides(template=template, output_dir=tmp_path / "renders", servers=servers or (sandbox.url,))
        stream = io.StringIO()
        generation = Generation(
            BatchSpec(**{"prompt": "a lighthouse"} | said),
            Request(state=tmp_path / "state.json", overrides=overrides, max_attempts=attempts),
            progress=lambda record: Generating(partial(print, file=stream), batch=record.batch, total=record.total),
            **how,
        )
        return Made(tmp_path, generation.execute(), stream.getvalue())

    return call


def posted(sandbox: Sandbox) -> int:
    return int(sandbox.counts()["posts"])


def test_001_one_count_makes_that_many_images(make: Make) -> None:
    made = make(count=4)
    assert made.generated.counts[Status.COMPLETED] == len(made.pictures) == 4


def test_001_more_images_than_a_burst_has_items_take_several_bursts(make: Make) -> None:
    made = make(count=17, size=(64, 64))
    assert (made.generated.remaining, len(made.pictures)) == (0, 17)


def test_002_one_directory_named_by_the_time_holds_the_whole_batch(make: Make) -> None:
    made = make(count=3)
    (directory,) = {picture.split("/")[0] for picture in made.pictures}
    assert re.fullmatch(r"\d{8}_\d{6}", directory)
    assert made.generated.directory == made.output / directory


def test_003_images_are_numbered_with_three_digits(make: Make) -> None:
    made = make(count=3)
    assert [picture.split("/")[1] for picture in made.pictures] == ["image_001.png", "image_002.png", "image_003.png"]


def test_004_007_each_image_has_its_metadata_with_its_own_seed(make: Make) -> None:
    made = make(count=3, seed=50)
    for number in (1, 2, 3):
        sidecar = made.generated.directory / f"prompt_{number:03}.txt"
        assert f"seed: {49 + number}" in sidecar.read_text().splitlines()
    assert {path.name for path in made.generated.directory.iterdir()} == {
        name for n in (1, 2, 3) for name in (f"image_{n:03}.png", f"prompt_{n:03}.txt")
    }


@pytest.mark.parametrize("source", ["prompt_002.txt", "image_002.png"])
def test_a_sidecar_or_a_picture_makes_it_again(make: Make, source: str) -> None:
    first = make(count=2, seed=70, steps=6)
    again = make(prompt=None, from_file=str(first.generated.directory / source), template=None)
    assert again.inputs("seed") == [71]
    (before, after) = first.items[1], again.items[0]
    assert before.fingerprint == after.fingerprint
    pictures = [made.output / item.outputs[0].path for made, item in ((first, before), (again, after))]
    assert len({Image.open(path).tobytes() for path in pictures}) == 1


def test_what_is_said_beside_a_sidecar_wins(make: Make) -> None:
    first = make(seed=70, steps=6)
    again = make(prompt=None, from_file=str(first.generated.directory / "prompt.txt"), seed=5, cfg=3.5, count=2)
    assert again.inputs("seed") == [5, 6]
    assert again.inputs("cfg") == [3.5, 3.5]
    assert again.inputs("steps") == [6, 6]


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ({"sweeps": {"steps": (4, 5)}}, {"steps": [4, 5], "seed": [70, 70], "cfg": [6.5, 6.5]}),
        ({"sweeps": {"seed": (1, 2)}}, {"seed": [1, 2], "steps": [6, 6]}),
        ({"sweeps": {"size": ("64x64", "72x64")}}, {"width": [64, 72], "height": [64, 64], "seed": [70, 70]}),
        ({"count": 2}, {"seed": [70, 71], "steps": [6, 6]}),
        ({"count": 2, "seed_mode": "fixed"}, {"seed": [70, 70]}),
        ({"sets": {"3.cfg": 2.5}}, {"cfg": [2.5], "steps": [6]}),
        ({"profile": "quality"}, {"sampler": ["dpmpp_2m"], "steps": [30], "seed": [70]}),
        ({"negative": "fog"}, {"negative": ["fog"], "seed": [70]}),
    ],
)
def test_what_is_said_beside_a_sidecar_wins_and_the_rest_stays(
    make: Make, said: dict[str, Any], found: dict[str, list[Any]]
) -> None:
    first = make(seed=70, steps=6, cfg=6.5, sampler="euler", size=(64, 64))
    again = make(prompt=None, from_file=str(first.generated.directory / "prompt.txt"), queue_only=True, **said)
    assert {name: again.inputs(name) for name in found} == found
    assert {item.prompt_text for item in again.items} == {"a lighthouse"}


def test_made_again_at_random_its_seed_is_another(make: Make) -> None:
    first = make(seed=70, size=(64, 64))
    sidecar = str(first.generated.directory / "prompt.txt")
    again = make(prompt=None, from_file=sidecar, queue_only=True, count=2, seed_mode="random")
    assert 70 not in again.inputs("seed")
    assert len(set(again.inputs("seed"))) == 2


def test_005_009_seeds_go_up_by_one_from_the_one_that_was_said(make: Make) -> None:
    assert make(count=4, seed=41).inputs("seed") == [41, 42, 43, 44]


def test_006_a_counter_and_the_seed_are_said_for_each_image(make: Make) -> None:
    made = make(count=3, seed=7)
    begun = [line for line in made.said.splitlines() if line.startswith("[")]
    # Which of two that are out ends first is anybody's guess.
    assert sorted(begun) == [f"[{n}/3] Generating with seed {6 + n}..." for n in (1, 2, 3)]


def test_010_without_a_seed_a_random_one_is_drawn_and_recorded(make: Make) -> None:
    first, second = make(count=2), make(count=2)
    assert first.inputs("seed") != second.inputs("seed")
    assert first.inputs("seed")[1] == first.inputs("seed")[0] + 1
    assert first.generated.record.parameters["seed"] == first.inputs("seed")[0]


def test_011_all_images_share_everything_but_the_seed(make: Make) -> None:
    made = make(count=3, steps=9, cfg=6.5, size=(512, 768), sampler="euler")
    for name, value in {"steps": 9, "cfg": 6.5, "width": 512, "height": 768, "sampler": "euler"}.items():
        assert made.inputs(name) == [value] * 3
    assert {item.prompt_text for item in made.items} == {"a lighthouse"}


def test_012_a_summary_says_how_many_and_where(make: Make) -> None:
    made = make(count=3)
    said = made.generated.as_text()
    assert "3 of 3 done" in said
    assert f"Images are in {made.generated.directory}" in said


def test_where_nothing_was_made_no_directory_is_named(make: Make, sandbox: Sandbox) -> None:
    sandbox.change(fail_next=1)
    assert "Images will" not in make(count=1, max_attempts=1).generated.as_text()


def test_013_a_failure_ends_it_with_an_error_that_names_the_image(make: Make, sandbox: Sandbox) -> None:
    sandbox.change(seconds_per_prompt=0.2, fail_next=1)
    made = make(count=5, max_attempts=1)
    assert made.generated.exit_code == 1
    assert "image_001.png" in (made.generated.reason or "")
    assert made.generated.remaining > 0
    report = run_burst(made.home / "state.json", until_done=True)
    assert report.counts[Status.PENDING] == 0
    assert made.generated.record.total - len(made.pictures) == 1


def test_013_with_continue_the_others_are_made(make: Make, sandbox: Sandbox) -> None:
    sandbox.change(fail_next=1)
    made = make(count=4, max_attempts=1, on_error="continue")
    assert made.generated.counts[Status.COMPLETED] == 3
    assert made.generated.exit_code == 1
    assert made.generated.remaining == 0
    (bad,) = (item for item in made.items if item.status is Status.FAILED)
    assert f"  [{bad.index}/4] failed: " in made.said


def test_what_is_cancelled_before_it_was_sent_is_said_not_to_be_generated() -> None:
    stream = io.StringIO()
    display = Generating(partial(print, file=stream), batch="b1", total=2)
    display.ended(Item(key="b1/2", status=Status.CANCELLED, batch="b1", index=2), number=1, size=2)
    assert stream.getvalue() == "  [2/2] cancelled\n"


def test_items_of_others_that_end_on_the_way_have_no_number_of_this_batch(make: Make) -> None:
    make(prompt="a fox", count=1, queue_only=True, priority="urgent")
    made = make(count=1)
    assert [line for line in made.said.splitlines() if line.startswith("[")] == [
        f"[1/1] Generating with seed {made.items[0].inputs['seed']}..."
    ]
    # Which of two that are submitted is collected first, and whether the other still is, is the machine's to say.
    stream = io.StringIO()
    display = Generating(partial(print, file=stream), batch="b1", total=1)
    display.ended(Item(key="b2/1", status=Status.CANCELLED, batch="b2", index=1), number=1, size=2)
    assert stream.getvalue() == "Also: b2/1 cancelled\n"


def test_while_another_burst_is_at_work_it_says_for_whom_it_waits(make: Make, sandbox: Sandbox) -> None:
    class Told(Generating):
        def waits(self, who: str) -> None:
            super().waits(who)
            lease.end()

    state = make(count=1).home / "state.json"
    stream = io.StringIO()
    generation = Generation(
        BatchSpec(prompt="a lighthouse"),
        Request(state=state),
        progress=lambda record: Told(partial(print, file=stream), batch=record.batch, total=record.total),
    )
    with at_work(state, burst="b7", started_at=BEGINNING) as lease:
        assert generation.execute().exit_code == 0
    said = stream.getvalue().splitlines()
    assert [line for line in said if "another burst" in line] == said[:1]
    assert f"pid {os.getpid()} " in said[0]


@pytest.mark.parametrize("count", [0, 1000])
def test_014_a_count_out_of_range_is_refused_before_anything_is_written(make: Make, count: int, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="count="):
        make(count=count)
    assert list(tmp_path.iterdir()) == []


def test_015_a_single_image_has_no_number(make: Make) -> None:
    made = make(count=1)
    assert sorted(path.name for path in made.generated.directory.iterdir()) == ["image.png", "prompt.txt"]


@pytest.mark.parametrize(
    ("said", "word"),
    [
        ({"prompt": "  "}, "prompt"),
        ({"model": "tiny-rndom.safetensors"}, "tiny-random.safetensors"),
        ({"loras": ("nope.safetensors",)}, "nope.safetensors"),
        ({"sampler": "eulr"}, "euler"),
        ({"profile": "sped"}, "speed"),
        ({"seed": -2}, "seed"),
        ({"count": 999, "sweeps": {"cfg": tuple(range(1, 99)), "steps": tuple(range(1, 99))}}, "split"),
        ({"sets": {"99.text": 1}}, "99"),
    ],
)
def test_bad_input_is_refused_before_anything_is_added(
    make: Make, tmp_path: Path, sandbox: Sandbox, said: dict[str, Any], word: str
) -> None:
    with pytest.raises(BurstError, match=re.escape(word)) as refused:
        make(**said)
    assert refused.value.exit_code == 2
    assert list(tmp_path.iterdir()) == []
    assert posted(sandbox) == 0


def test_queued_only_it_waits_for_the_next_burst(make: Make, sandbox: Sandbox) -> None:
    made = make(count=2, queue_only=True)
    assert posted(sandbox) == 0
    assert made.generated.remaining == 2
    assert made.outcome.as_text().splitlines() == [
        f"Batch {made.generated.record.batch}: 2 items added",
        f"Images will be in {made.generated.directory}",
        "The next run renders them, or the one that is at work. Next: burst run",
    ]
    run_burst(made.home / "state.json")
    assert len(made.pictures) == 2


def test_queued_only_it_needs_no_server(make: Make) -> None:
    assert make(count=2, queue_only=True, servers=("http://127.0.0.1:9",)).generated.remaining == 2


def test_a_dry_run_shows_items_and_graph_and_changes_nothing(make: Make, tmp_path: Path, sandbox: Sandbox) -> None:
    made = make(count=2, seed=5, dry_run=True)
    assert list(tmp_path.iterdir()) == []
    assert posted(sandbox) == 0
    document = made.outcome.as_json()
    assert [item["inputs"]["seed"] for item in document["items"]] == [5, 6]
    assert "a lighthouse" in str(document["graph"])


def test_a_profile_fills_in_what_nobody_said(make: Make) -> None:
    made = make(profile="quality", cfg=3.0)
    assert made.inputs("steps") == [30]
    assert made.inputs("cfg") == [3.0]
    assert made.inputs("sampler") == ["dpmpp_2m"]


def test_a_sweep_crosses_its_values_at_one_seed(make: Make) -> None:
    made = make(sweeps={"cfg": (5, 7), "steps": (4, 6)}, seed=9, count=1)
    cells = list(zip(made.inputs("cfg"), made.inputs("steps"), made.inputs("seed"), strict=True))
    assert cells == [(5, 4, 9), (5, 6, 9), (7, 4, 9), (7, 6, 9)]


def test_the_batch_layout(make: Make) -> None:
    made = make(count=2, seed=3, layout="batch", stem="hero")
    directory = f"batch_{made.generated.record.batch}"
    assert made.pictures == [f"{directory}/images/hero_000{n}_{2 + n}.png" for n in (1, 2)]


def test_batch_info_counts_pictures_and_not_sidecars(make: Make) -> None:
    made = make(count=2, layout="batch", template="smoke")
    info = json.loads((made.generated.directory / "batch_info.json").read_text())
    assert {len(item.outputs) for item in made.items} == {2}, "a picture and a sidecar, and no text that is only shown"
    assert [image["file"] for image in info["images"]] == made.pictures
    assert info["totals"]["images"] == 2
    assert info["images_a_minute"] == pytest.approx(120 / sum(item.seconds or 0 for item in made.items), abs=0.01)


def test_the_batch_and_its_template_are_remembered(make: Make) -> None:
    made = make(count=1)
    found = parts_of(made.home / "state.json").batches.read()[made.generated.record.batch].record
    assert found == made.generated.record
    assert found.recipe == made.items[0].recipe is not None
    other = make(count=1, template="txt2img-sdxl")
    assert other.items[0].recipe != made.items[0].recipe


def test_only_urgent_items_of_others_are_rendered_before_its_own_and_nothing_after_them(
    make: Make, sandbox: Sandbox
) -> None:
    """Whatever else is due, also with a higher priority, is left to `burst run`; nothing of it waits on the server."""
    others = {
        priority: make(prompt=f"a {priority} fox", count=3, queue_only=True, priority=priority)
        for priority in ("normal", "high", "urgent")
    }
    made = make(count=2, priority="low")
    assert made.generated.remaining == 0
    rendered = list(sandbox.counts()["rendered_by_item"])
    assert rendered == [item.key for item in (*others["urgent"].items, *made.items)]
    assert {item.status for name in ("normal", "high") for item in others[name].items} == {Status.PENDING}
    assert posted(sandbox) == 5


def test_what_is_submitted_already_is_waited_for_and_it_says_so(make: Make, sandbox: Sandbox) -> None:
    other = make(prompt="a fox", count=3, queue_only=True)
    sandbox.hold("render")
    run_burst(other.home / "state.json", server=sandbox.url, max_seconds=0.5)
    assert {item.status for item in other.items} == {Status.SUBMITTED}
    sandbox.release()
    made = make(count=1)
    assert "First the server finishes 3 items submitted before\n" in made.said
    assert made.generated.remaining == 0
    again = make(count=1, seed=3)
    assert "First the server" not in again.said


def test_how_long_what_is_submitted_already_takes_is_said_where_a_pace_is_known(make: Make, sandbox: Sandbox) -> None:
    sandbox.change(seconds_per_prompt=0.2)
    make(count=3)
    sandbox.change(seconds_per_prompt=0.0)
    other = make(prompt="a fox", count=2, queue_only=True)
    sandbox.hold("render")
    run_burst(other.home / "state.json", server=sandbox.url, max_seconds=0.5)
    sandbox.release()
    assert re.search(r"First the server finishes 2 items submitted before, about \d\.\d s\n", make(count=1).said)


def test_a_failed_server_of_others_items_does_not_end_it(make: Make, sandbox: Sandbox) -> None:
    """Items of others that only a server that is away may render are none of its concern."""
    make(prompt="a fox", count=2, queue_only=True, servers=("gone=http://127.0.0.1:9",))
    made = make(count=1)
    assert (made.generated.remaining, made.generated.exit_code) == (0, 0)


@pytest.mark.parametrize("size", [15, 6], ids=["room in the burst", "a full burst"])
def test_an_urgent_batch_overtakes_what_waits_on_the_server(make: Make, sandbox: Sandbox, size: int) -> None:
    sandbox.change(seconds_per_prompt=0.2)
    first = make(count=12, queue_only=True)
    with Threads() as beside:
        run = beside.submit(run_burst, first.home / "state.json", size=size, until_done=True)
        wait_until(lambda: sum(item.status is Status.COMPLETED for item in first.items) >= 2)
        sandbox.hold("next")
        done = len(sandbox.counts()["rendered"])
        urgent = make(count=2, queue_only=True, priority="urgent")
        wait_until(lambda: all(item.accepted for item in urgent.items), what="the urgent ones on the server")
        sandbox.release()
        run.result()
    rendered = list(sandbox.counts()["rendered_by_item"])
    overtaken = rendered.index(urgent.items[0].key)
    assert overtaken <= done + 1, "one may have been rendering"
    assert rendered[overtaken + 1] == urgent.items[1].key
    assert set(sandbox.counts()["rendered"].values()) == {1}
