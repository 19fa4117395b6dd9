"""Whole runs over images that are made from images of the same state, as a state file written by hand says."""

from __future__ import annotations

import json
from collections.abc import Callable

import msgspec
from PIL import Image
from support.burst_runs import SetTimes
from support.image_project import PictureProject, uploads, wanted_name

from orchestrator.cancellation import cancel
from orchestrator.comfyui import ComfyUI
from orchestrator.cycle.report import BurstReport
from orchestrator.cycle.set_aside import due_items
from orchestrator.doctor import examine
from orchestrator.retries import retry
from orchestrator.sandbox import Sandbox
from orchestrator.status import read_status
from orchestrator.verify import verify_outputs
from state.change import change_all
from state.open_store import open_store

MakeProject = Callable[..., PictureProject]
Burst = Callable[..., BurstReport]


def chain(project: PictureProject, count: int) -> list[str]:
    """Add so many items by hand, each made from the one before it, the first from the first image; the keys of all."""
    records = json.loads(project.state.read_bytes())
    keys = list(records)[:1]
    for number in range(1, count + 1):
        source = {"image": {"item": keys[-1], "output": 1}}
        keys.append(f"stage_{number}")
        records = {keys[-1]: {"status": "pending", "subfolder": "EP01", "uploads": source}, **records}
    project.state.write_text(json.dumps(records))
    return keys


def loaded_by(project: PictureProject, sandbox: Sandbox, key: str) -> str:
    """The image that the item's prompt loaded, as its server has it in the history."""
    with open_store(project.state, read_only=True) as store, ComfyUI(sandbox.url) as client:
        entry = client.history(store.get(key).prompt_id or "")
    assert entry is not None
    return str(entry.graph["1"]["inputs"]["image"])


def test_a_chain_written_by_hand_is_done_by_one_run(make_project: MakeProject, sandbox: Sandbox, burst: Burst) -> None:
    project = make_project(count=2)
    keys = chain(project, 2)
    status = read_status(project.state)
    assert (status.remaining, status.stages_waiting, status.next_items[0]) == (4, 2, keys[0])
    assert [one.as_json() for one in status.stages] == [
        {"item": keys[2], "source": keys[1], "output": 1, "source_status": "pending"},
        {"item": keys[1], "source": keys[0], "output": 1, "source_status": "pending"},
    ]
    said = f"2 items wait for outputs of others (stage_2 for stage_1, which is pending; stage_1 for {keys[0]}, which is"
    assert f"Waiting: {said} pending)" in status.as_text()
    assert "4 left, 2 of them waiting for others. Next: burst run" in status.as_text()
    report = burst(project, until_done=True, size=1)
    assert (report.exit_code, report.completed, report.failed, report.bursts) == (0, 4, 0, 4)
    assert [read_status(project.state).as_json()[name] for name in ("waiting", "waiting_total")] == [[], 0]
    sources = [project.picture(1), *(project.output / "EP01" / name for name in ("photo_001.png", "stage_1.png"))]
    assert [loaded_by(project, sandbox, key) for key in keys] == list(map(wanted_name, sources))
    assert uploads(sandbox) == 4


def test_a_bounded_burst_says_what_waits(make_project: MakeProject, burst: Burst) -> None:
    project = make_project(count=1)
    keys = chain(project, 2)
    report = burst(project, size=1)
    assert (report.exit_code, report.completed, report.next_batch) == (0, 1, (keys[1],))
    assert f"1 item waits for outputs of others ({keys[2]} for {keys[1]}, which is pending)" in report.notes


def test_a_run_until_done_ends_where_a_source_failed(make_project: MakeProject, sandbox: Sandbox, burst: Burst) -> None:
    project = make_project(count=1)
    keys = chain(project, 2)
    sandbox.change(fail_next=1)
    report = burst(project, until_done=True, max_attempts=1)
    assert (report.exit_code, report.completed, report.failed, report.remaining) == (1, 0, 1, 0)
    assert f"2 items made from {keys[0]} failed with it" in report.notes
    assert project.statuses() == ["failed"] * 3
    again = retry(project.state, [keys[0]])
    assert again.keys == tuple(keys)
    assert burst(project, until_done=True).completed == 3


def test_what_can_never_be_done_fails_when_a_run_begins_and_contacts_no_server_for_it(
    make_project: MakeProject, sandbox: Sandbox, burst: Burst
) -> None:
    project = make_project(count=1)
    keys = chain(project, 2)
    records = json.loads(project.state.read_bytes())
    del records[keys[0]]
    records["stage_1"]["uploads"]["image"]["item"] = "stage_2"
    project.state.write_text(json.dumps(records))
    assert "Next: burst run" in read_status(project.state).as_text()
    report = burst(project, until_done=True)
    assert (report.exit_code, report.failed, report.completed, report.requests) == (1, 2, 0, 0)
    circle = "it waits for itself: stage_2 → stage_1 → stage_2"
    failed = f"it is made from an output of stage_2, which failed: {circle}"
    assert [message for _, message in report.failures] == [circle, failed]


def test_a_server_that_is_down_has_nothing_to_do_with_what_waits_for_a_failed_one(
    make_project: MakeProject, sandbox: Sandbox, burst: Burst, set_times: SetTimes
) -> None:
    set_times(retry_seconds=0.2)
    project = make_project(count=1)
    cancel(project.state, chain(project, 1)[:1])
    assert project.statuses() == ["cancelled", "cancelled"]
    sandbox.close()
    report = burst(project)
    assert (report.exit_code, report.completed, report.reason) == (0, 0, None)


def test_retry_of_a_stage_alone_says_what_to_retry(make_project: MakeProject) -> None:
    project = make_project(count=1)
    keys = chain(project, 1)
    cancel(project.state, [keys[0]])
    done = retry(project.state, [keys[1]], cancelled=True)
    assert done.keys == ()
    assert done.notes == (f"{keys[1]} is made from an output of {keys[0]}, which was cancelled: retry that",)
    assert project.statuses() == ["cancelled", "cancelled"]
    assert sorted(retry(project.state, cancelled=True).keys) == sorted(keys)


def test_verify_and_rescan_redo_what_was_made_from_what_they_redo(
    make_project: MakeProject, sandbox: Sandbox, burst: Burst
) -> None:
    project = make_project(count=1)
    keys = chain(project, 1)
    burst(project, until_done=True)
    (project.output / "EP01" / "photo_001.png").unlink()
    assert verify_outputs(project.state, repair=True).put_back == tuple(keys)
    assert burst(project, until_done=True).completed == 2
    Image.new("RGB", (16, 16), "red").save(project.picture(1))
    assert project.init(rescan=True).put_back == tuple(keys)
    assert burst(project, until_done=True).completed == 2
    assert loaded_by(project, sandbox, "stage_1") == wanted_name(project.output / "EP01" / "photo_001.png")
    assert project.init(rescan=True).put_back == (), "and nothing is outdated then"


def test_doctor_checks_what_is_due_and_lets_the_others_wait(make_project: MakeProject, burst: Burst) -> None:
    project = make_project(count=1)
    keys = chain(project, 2)
    burst(project, size=1)
    assert [check for check in examine(project.state).checks if check.verdict == "problem"] == []
    (project.output / "EP01" / "photo_001.png").unlink()
    (problem,) = [check for check in examine(project.state).checks if check.verdict == "problem"]
    assert f"output 1 of {keys[0]} was removed" in problem.message


def test_a_stage_of_what_is_set_aside_waits_and_the_run_says_why(make_project: MakeProject, burst: Burst) -> None:
    """As where nothing but what is set aside remains: exit 2."""
    project = make_project(count=1)
    keys = chain(project, 1)
    records = json.loads(project.state.read_bytes())
    records[keys[0]]["recipe"] = None
    records[keys[0]]["template"] = "nowhere.json"
    project.state.write_text(json.dumps(records))
    report = burst(project, until_done=True)
    assert (report.exit_code, report.completed, report.failed, project.statuses()) == (2, 0, 0, ["pending", "pending"])
    assert report.reason is not None
    assert "nowhere.json" in report.reason


def test_what_waits_for_an_item_and_for_a_recipe_is_taken_off_the_time_left_once(
    make_project: MakeProject, burst: Burst
) -> None:
    project = make_project(count=3)
    keys = chain(project, 1)
    records = json.loads(project.state.read_bytes())
    for key in keys:
        records[key] |= {"recipe": None, "template": "nowhere.json", "priority": "high"}
    project.state.write_text(json.dumps(records))
    report, status = burst(project, size=1), read_status(project.state)
    assert (report.completed, report.remaining, [one.items for one in report.set_aside]) == (1, 3, [2])
    assert None not in (report.seconds_left, status.seconds_left), "one can be rendered"
    with open_store(project.state, read_only=True) as store:
        assert [item.key for item in due_items(status.set_aside, store)] == keys[:1]


def test_a_source_whose_place_is_not_known_fails_its_stage_alone(make_project: MakeProject, burst: Burst) -> None:
    project = make_project(count=2)
    keys = chain(project, 1)
    burst(project, size=1)
    with open_store(project.state) as store:
        unknown = {keys[0]: "0123456789abcdef"}
        change_all(store, store.get_many(unknown), lambda now: msgspec.structs.replace(now, recipe=unknown[now.key]))
    report = burst(project, until_done=True)
    assert (report.exit_code, report.completed, report.failed) == (1, 1, 1)
    assert f"where output 1 of {keys[0]} lies is not known" in dict(report.failures)["stage_1"]


def test_an_output_directory_that_is_away_is_not_called_removed(make_project: MakeProject, burst: Burst) -> None:
    project = make_project(count=1)
    chain(project, 1)
    burst(project, size=1)
    project.output.rename(project.home / "elsewhere")
    report = burst(project, until_done=True)
    assert "is not there; bring it back, then `burst retry`" in dict(report.failures)["stage_1"]
