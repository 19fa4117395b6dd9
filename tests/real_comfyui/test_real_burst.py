"""Whole bursts by the command line over a real ComfyUI."""

from __future__ import annotations

import pytest
import requests
from PIL import Image
from support.real_graphs import new_seeds, node, quick, searching, slow
from support.real_scene import Scene, entries, finish, queued, renders
from support.waiting import wait_until

from state.item import Status

SMOKE_ITEMS = 12


def prompt_files(scene: Scene, count: int) -> None:
    folder = scene.directory / f"prompts-{scene.tag}" / "EP01"
    folder.mkdir(parents=True)
    for number in range(1, count + 1):
        (folder / f"prompt_{number}.txt").write_text(f"a small red house\nnumber {number} of {scene.tag}\n")


@pytest.mark.parametrize("more", [("-n", "12"), ("-n", "5", "--ahead", "4", "--until-done")])
def test_smoke_is_rendered_once_an_item(scene: Scene, server_url: str, more: tuple[str, ...]) -> None:
    prompt_files(scene, SMOKE_ITEMS)
    begun = scene.say(
        *("init", f"prompts-{scene.tag}", "--template", "smoke"),
        *("--server", server_url, "--output", str(scene.output), "--outputs", "3,5"),
    )
    assert begun.code == 0, begun.words

    said = scene.run(server_url, *more)

    assert said.code == 0, said.words
    assert said.report["completed"] == SMOKE_ITEMS
    assert said.report["rendered_twice"] == 0
    assert scene.counts() == {Status.COMPLETED: SMOKE_ITEMS}
    assert renders(server_url, scene) == dict.fromkeys(scene.items(), 1)
    pictures = [path for path in scene.pictures() if path.suffix == ".png"]
    assert len(pictures) == SMOKE_ITEMS
    for path in pictures:
        with Image.open(path) as picture:
            picture.load()
            assert picture.size == (256, 256)
    texts = sorted(path.read_text() for path in scene.pictures() if path.suffix == ".txt")
    assert texts == sorted(f"a small red house number {n} of {scene.tag}" for n in range(1, SMOKE_ITEMS + 1))
    assert scene.say("verify", "--output", str(scene.output)).report["problems"] == []
    assert scene.say("status", "--check").code == 0


def test_what_is_ahead_waits_on_the_server_for_the_next_burst(scene: Scene, server_url: str) -> None:
    keys = scene.write(slow(blurs=2), new_seeds(8))

    first = scene.run(server_url, "-n", "2", "--ahead", "4")

    assert (first.code, first.report["completed"]) == (0, 2)
    out = [key for key, item in scene.items().items() if item.status is Status.SUBMITTED]
    assert out == keys[2:6]
    wait_until(lambda: set(renders(server_url, scene)) >= set(out), what="they are rendered while no burst runs")
    second = scene.run(server_url, "-n", "6")
    assert (second.code, second.report["completed"], second.report["recovered"]) == (0, 6, 4)
    assert renders(server_url, scene) == dict.fromkeys(keys, 1)


def test_an_execution_error_fails_its_item_alone_after_its_attempts(scene: Scene, server_url: str) -> None:
    given = [seed | {"pattern": "(" if number == 2 else "red"} for number, seed in enumerate(new_seeds(5))]
    keys = scene.write(searching(), given)

    said = scene.run(server_url, "--bind", "pattern=4.regex_pattern", "--max-attempts", "2", "--until-done")

    assert said.code == 1
    bad = scene.items()[keys[2]]
    assert (bad.status, bad.attempts) == (Status.FAILED, 2)
    assert bad.error is not None
    assert (bad.error.kind, bad.error.node_id) == ("execution_error", "4")
    assert "RegexReplace" in bad.error.message
    assert "PatternError" in bad.error.message or "re.error" in bad.error.message
    assert scene.counts() == {Status.COMPLETED: 4, Status.FAILED: 1}
    assert len([key for key, _ in entries(server_url, scene) if key == keys[2]]) == 2
    assert said.report["failures"][0]["item"] == keys[2]


def test_on_error_stop_leaves_the_others_due(scene: Scene, server_url: str) -> None:
    keys = scene.write(searching(), [{"seed": 1, "pattern": "("}, {"seed": 2, "pattern": "red"}])

    bind = ("--bind", "pattern=4.regex_pattern")
    said = scene.run(server_url, *bind, "-n", "1", "--max-attempts", "1", "--on-error", "stop")

    assert said.code == 1
    assert scene.items()[keys[0]].status is Status.FAILED
    assert scene.items()[keys[1]].status is Status.PENDING
    assert scene.run(server_url, *bind).code == 0
    assert scene.items()[keys[1]].status is Status.COMPLETED


def test_a_prompt_that_somebody_interrupts_is_charged_and_rendered_again(scene: Scene, server_url: str) -> None:
    keys = scene.write(slow(blurs=8), new_seeds(2))

    with scene.running(server_url) as process:
        wait_until(lambda: queued(server_url, scene)[0] == [keys[0]], what="the first item runs")
        prompt_id = scene.items()[keys[0]].prompt_id
        requests.post(f"{server_url}/interrupt", json={"prompt_id": prompt_id}, timeout=10)
        said = finish(process)

    assert said.code == 0, said.words
    item = scene.items()[keys[0]]
    assert (item.status, item.attempts, item.previous_prompt_ids) == (Status.COMPLETED, 1, (prompt_id,))
    assert scene.items()[keys[1]].attempts == 0
    assert renders(server_url, scene) == dict.fromkeys(keys, 1)


def test_an_interruption_with_no_attempt_left_fails_by_its_name(scene: Scene, server_url: str) -> None:
    (key,) = scene.write(slow(blurs=8), new_seeds(1))

    with scene.running(server_url, "--max-attempts", "1") as process:
        wait_until(lambda: queued(server_url, scene)[0] == [key], what="the item runs")
        requests.post(f"{server_url}/interrupt", json={"prompt_id": scene.items()[key].prompt_id}, timeout=10)
        said = finish(process)

    assert said.code == 1
    error = scene.items()[key].error
    assert error is not None
    assert error.kind == "interrupted"


def test_cancel_from_a_second_process(scene: Scene, server_url: str) -> None:
    """One item that runs, some that wait on the server, some that are still pending; the third goes on."""
    keys = scene.write(slow(blurs=10), new_seeds(8))
    unwanted = [*keys[:2], *keys[3:]]

    def is_at_work() -> bool:
        running, waiting = queued(server_url, scene)
        return running == keys[:1] and waiting[:2] == keys[1:3]

    with scene.running(server_url, "-n", "3", "--until-done") as process:
        wait_until(is_at_work, what="one runs and two wait")
        assert scene.counts()[Status.PENDING] >= 1
        said = scene.say("cancel", *unwanted)
        assert said.code == 0, said.words
        wait_until(
            lambda: {scene.items()[key].status for key in unwanted} == {Status.CANCELLED},
            what="all of them are cancelled while the burst goes on",
        )
        ended = finish(process)

    assert ended.code == 0, ended.words
    assert scene.items()[keys[2]].status is Status.COMPLETED
    assert renders(server_url, scene) == {keys[2]: 1}
    assert [path.stem for path in scene.pictures()] == ["item_03"]


def test_cancel_while_no_burst_runs(scene: Scene, server_url: str) -> None:
    keys = scene.write(slow(blurs=10), new_seeds(3))
    with scene.running(server_url) as process:
        wait_until(lambda: queued(server_url, scene) == (keys[:1], keys[1:]), what="one runs and two wait")
        process.kill()
        process.wait()

    said = scene.say("cancel", "--all")

    assert said.code == 0, said.words
    wait_until(lambda: queued(server_url, scene) == ([], []), what="the server has none of them any more")
    assert scene.run(server_url).code == 0
    assert scene.counts() == {Status.CANCELLED: 3}
    assert renders(server_url, scene) == {}
    assert scene.pictures() == []


def test_a_rejected_template_stops_with_every_item_due(scene: Scene, server_url: str) -> None:
    graph = quick() | {"7": node("NoSuchNodeAnywhere", images=["2", 0], filename_prefix="p")}
    keys = scene.write(graph, new_seeds(3))

    said = scene.run(server_url)

    assert said.code == 2
    assert "NoSuchNodeAnywhere" in said.words
    assert scene.counts() == {Status.PENDING: len(keys)}
    assert all(item.attempts == 0 for item in scene.items().values())
    assert entries(server_url, scene) == []


def test_a_rejected_value_of_its_own_fails_the_item_alone(scene: Scene, server_url: str) -> None:
    keys = scene.write(quick(), [{"seed": 1, "width": 64}, {"seed": 2, "width": 1 << 20}, {"seed": 3, "width": 64}])

    said = scene.run(server_url, "--bind", "width=1.width")

    assert said.code == 1
    bad = scene.items()[keys[1]]
    assert bad.status is Status.FAILED
    assert bad.error is not None
    assert (bad.error.kind, bad.error.node_id) == ("rejected", "1")
    assert "width" in bad.error.message
    assert scene.counts() == {Status.COMPLETED: 2, Status.FAILED: 1}
