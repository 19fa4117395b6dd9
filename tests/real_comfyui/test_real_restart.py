"""A real server killed with -9, and bursts killed with -9, in the middle of the work."""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess

import pytest
from support.real_graphs import new_seeds, slow
from support.real_scene import Scene, check_each_was_rendered_once, finish, queued, renders
from support.real_server import RealServer
from support.waiting import wait_until

from state.item import Status

pytestmark = pytest.mark.timeout(300)

ITEMS = 8
KILLS = 5


def begin(scene: Scene, *, blurs: int = 2) -> list[str]:
    return scene.write(slow(blurs=blurs), new_seeds(ITEMS))


def wait_for_renders(scene: Scene, server: RealServer, count: int) -> None:
    wait_until(lambda: sum(renders(server.url, scene).values()) >= count, what=f"{count} are rendered")


def test_a_server_that_comes_back_in_time_costs_the_burst_nothing(scene: Scene, mortal_server: RealServer) -> None:
    """Killed and started again while one burst runs: it waits, looks, renders what is missing."""
    begin(scene)
    with scene.running(mortal_server.url, "--wait-server", "120") as process:
        wait_until(lambda: scene.counts()[Status.COMPLETED] >= 3, what="three are collected")
        mortal_server.kill()
        mortal_server.start()
        said = finish(process)

    assert said.code == 0, said.words
    assert said.report["completed"] == ITEMS
    check_each_was_rendered_once(scene, mortal_server)


def test_what_a_dead_server_had_rendered_is_rescued_by_name(scene: Scene, mortal_server: RealServer) -> None:
    """The burst stands still meanwhile, so that pictures lie on the server which nobody collected."""
    begin(scene)
    with scene.running(mortal_server.url) as process:
        wait_until(lambda: len(queued(mortal_server.url, scene)[1]) == ITEMS - 1, what="all are on the server")
        process.send_signal(signal.SIGSTOP)
        wait_until(lambda: len(mortal_server.pictures()) >= 4, what="four are rendered")
        mortal_server.kill()
        whole = mortal_server.prompts_by_seed()
        mortal_server.start()
        process.send_signal(signal.SIGCONT)
        said = finish(process)

    assert said.code == 0, said.words
    assert 4 <= len(whole) < ITEMS
    already = len(whole) - said.report["rescued"]
    assert 0 <= already <= 1, "but for one that the burst may have collected before it stood still, all are rescued"
    assert said.report["completed"] == ITEMS
    check_each_was_rendered_once(scene, mortal_server)
    assert {seed: ids for seed, ids in mortal_server.prompts_by_seed().items() if seed in whole} == whole
    assert set(renders(mortal_server.url, scene).values()) == {1}
    assert sum(renders(mortal_server.url, scene).values()) == ITEMS - len(whole)


def test_pictures_that_are_gone_with_the_server_are_rendered_again(scene: Scene, mortal_server: RealServer) -> None:
    """The output directory is wiped: what the burst had collected stays done, the rest is rendered anew."""
    begin(scene)
    with scene.running(mortal_server.url) as process:
        wait_until(lambda: scene.counts()[Status.COMPLETED] >= 2, what="two are collected")
        process.send_signal(signal.SIGSTOP)
        wait_until(lambda: len(mortal_server.pictures()) >= 5, what="more are rendered")
        done = {key for key, item in scene.items().items() if item.status is Status.COMPLETED}
        mortal_server.kill()
        mortal_server.wipe_outputs()
        mortal_server.start()
        process.send_signal(signal.SIGCONT)
        said = finish(process)

    assert said.code == 0, said.words
    assert (said.report["completed"], said.report["rescued"]) == (ITEMS, 0)
    again = renders(mortal_server.url, scene)
    assert again == {key: 1 for key in scene.items() if key not in done}
    assert len(scene.pictures()) == ITEMS
    assert scene.say("verify", "--output", str(scene.output)).code == 0


@pytest.mark.parametrize("wiped", [False, True], ids=["files kept", "files wiped"])
def test_across_bursts(scene: Scene, mortal_server: RealServer, wiped: bool) -> None:
    """The server stays away: 75, everything in its place; the next burst after its return does the rest."""
    begin(scene)
    with scene.running(mortal_server.url) as process:
        wait_until(lambda: scene.counts()[Status.COMPLETED] >= 2, what="two are collected")
        process.send_signal(signal.SIGSTOP)
        wait_until(lambda: len(mortal_server.pictures()) >= 5, what="more are rendered")
        mortal_server.kill()
        process.send_signal(signal.SIGCONT)
        left = finish(process)

    assert left.code == 75, left.words
    assert left.report["reason"]
    before = scene.items()
    done = {key for key, item in before.items() if item.status is Status.COMPLETED}
    assert {item.status for key, item in before.items() if key not in done} == {Status.SUBMITTED}
    whole = mortal_server.prompts_by_seed()
    still_away = scene.run(mortal_server.url)
    assert still_away.code == 75
    assert scene.items() == before

    if wiped:
        mortal_server.wipe_outputs()
    mortal_server.start()
    said = scene.run(mortal_server.url)

    assert said.code == 0, said.words
    assert said.report["completed"] == ITEMS - len(done)
    assert said.report["recovered"] == ITEMS - len(done)
    assert said.report["rescued"] == (0 if wiped else len(whole) - len(done))
    again = renders(mortal_server.url, scene)
    assert set(again.values()) == {1}
    if wiped:
        assert set(again) == set(before) - done
    else:
        assert sum(again.values()) == ITEMS - len(whole)
        check_each_was_rendered_once(scene, mortal_server)
    assert {key: scene.items()[key] for key in done} == {key: before[key] for key in done}


def test_bursts_killed_over_and_over(scene: Scene, own_server: RealServer) -> None:
    """Each SIGKILL at a random moment after the one before; every item is rendered once by files and by history."""
    chance = random.Random(scene.tag)
    before = set(own_server.pictures())
    given = new_seeds(20)
    keys = scene.write(slow(blurs=3), given)

    for kill in range(KILLS):
        goal = sum(renders(own_server.url, scene).values()) + chance.randint(1, 3)
        with scene.running(own_server.url, "-n", "20") as process:
            wait_for_renders(scene, own_server, goal)
            assert process.poll() is None, f"kill {kill + 1} came too late"
            process.kill()
            assert process.wait() == -signal.SIGKILL
        assert len(scene.items()) == len(keys)
    said = scene.run(own_server.url, "-n", "20")

    assert said.code == 0, said.words
    assert scene.counts() == {Status.COMPLETED: len(keys)}
    assert renders(own_server.url, scene) == dict.fromkeys(keys, 1)
    new = set(own_server.pictures()) - before
    by_seed = {seed: ids for seed, ids in own_server.prompts_by_seed().items() if {"seed": seed} in given}
    assert len(new) == len(keys)
    assert by_seed == {int(item.inputs["seed"]): {item.prompt_id} for item in scene.items().values()}
    assert len(scene.pictures()) == len(keys), "and no temporary file is left"


def test_bursts_killed_in_their_first_second(scene: Scene, own_server: RealServer) -> None:
    """While they start, look up and submit: after a random short time, whatever the server has done by then."""
    chance = random.Random(scene.tag)
    keys = scene.write(slow(blurs=1), new_seeds(20))

    for _ in range(12):
        with scene.running(own_server.url, "-n", "6", "--until-done") as process:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=chance.uniform(0.25, 0.9))
            process.kill()
    said = scene.run(own_server.url, "--until-done")

    assert said.code == 0, said.words
    assert scene.counts() == {Status.COMPLETED: len(keys)}
    assert renders(own_server.url, scene) == dict.fromkeys(keys, 1)
    assert len(scene.pictures()) == len(keys)
