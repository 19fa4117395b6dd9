"""The JSON that is printed: as its types say, the first ten entries of lists, and a reference made from the types."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator
from support.documents import checked
from support.image_project import INVERT

from burst import cli
from orchestrator.batches.notify import BatchesRead, letter_of
from orchestrator.commands.command_tree import commands_of
from orchestrator.commands.exit_codes import exit_codes
from orchestrator.demo import DemoReport
from orchestrator.documents.json_schema import json_schema
from orchestrator.documents.lists import FIRST, shortened
from orchestrator.documents.registry import ALL, KEPT, SCHEMAS, schema_named
from orchestrator.errors import UsageError
from orchestrator.event_stream import watch_events
from orchestrator.notifications.post import ReceiverPost, trial_event
from orchestrator.sandbox import Sandbox, SandboxSettings
from state.batch import BatchRecord, EndRecord, Notify
from state.notices import Notices, Receiver
from state.open_store import open_store

ROOT = Path(__file__).parents[2]
COUNT = 12
ELSEWHERE = {
    "burst.serve/1",
    "burst.mcp/1",
    "burst.sandbox/1",
    "burst.worker/1",
    "burst.fleet-up/1",
    "burst.fleet-status/1",
}
"""Commands that listen until they are stopped (tests/support/serving.py, tests/commands/test_sandbox_command.py), and
those of a fleet (tests/fleet)."""
COMMANDS = {node.name for node in commands_of(cli)}
NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)
GENERATE = ("generate", "--prompt", "a fox", "--seed", "7", "--template", "smoke", "--output", "out")


@dataclass
class Printed:
    """What commands printed with `--json`, and with `--all` too."""

    short: dict[str, Mapping[str, Any]]
    whole: dict[str, Mapping[str, Any]]
    texts: dict[str, str]
    """Of some commands without `--json`, by their words."""
    home: Path
    """The project, as the last command left it."""


def printed(*arguments: str, code: int) -> dict[str, Any]:
    result = CliRunner().invoke(cli, [*arguments, "--json"])
    assert result.exit_code == code, (arguments, result.output)
    assert result.stderr == "" or code == 2, (arguments, result.stderr)
    document = checked(json.loads(result.stdout))
    fits(document, document["schema"])
    assert result.exit_code in exit_codes(named_command(arguments)), arguments
    return document


def named_command(arguments: Sequence[str]) -> str:
    """The words of the command that these call."""
    pairs = (" ".join(arguments[:2]), arguments[0])
    return next(name for name in pairs if name in COMMANDS)


@functools.cache
def validator(name: str) -> Draft202012Validator:
    schema = json_schema(name)
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def fits(document: object, name: str) -> None:
    """Fails where it is not what its JSON Schema says."""
    assert [f"{error.json_path}: {error.message}" for error in validator(name).iter_errors(document)] == []


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Printed]:
    """A project in which more than ten items end in every way, worked through with every command."""
    home = tmp_path_factory.mktemp("documents")
    (home / "prompts").mkdir()
    for number in range(COUNT):
        (home / "prompts" / f"{number:02}.txt").write_text("a fox")
    (home / "ComfyUI" / "custom_nodes").mkdir(parents=True)
    with pytest.MonkeyPatch.context() as patch, Sandbox(SandboxSettings()) as sandbox:
        patch.chdir(home)
        patch.setenv("COMFYUI_URL", sandbox.url)
        yield _walk(home, sandbox)


def _walk(home: Path, sandbox: Sandbox) -> Printed:
    found = Printed({}, {}, {}, home)

    def both(*arguments: str, code: int = 0) -> None:
        """A command that may be repeated."""
        document = printed(*arguments, code=code)
        found.short[document["schema"]] = document
        found.whole[document["schema"]] = printed(*arguments, "--all", code=code)

    def only(*arguments: str, code: int = 0) -> None:
        document = printed(*arguments, code=code)
        found.short[document["schema"]] = document

    def text(*arguments: str, code: int = 0) -> None:
        result = CliRunner().invoke(cli, arguments)
        assert result.exit_code == code, result.output
        found.texts[" ".join(arguments)] = result.stdout

    only("run", "--state", "nothing.json", code=2)
    both("init", "prompts", "--template", "smoke", "--output", "out")
    both("run", "-n", "99", "--dry-run")
    only("cancel", "--all")
    both("reset", "--yes")
    found.whole["burst.cancel/2"] = printed("cancel", "--all", "--list-all", code=0)
    printed("reset", "--yes", code=0)
    sandbox.change(failure_rate=1.0)
    only("run", "-n", "99", "--max-attempts", "1", code=1)
    sandbox.change(failure_rate=0.0)
    both("doctor")
    both("status", "--stats")
    text("status")
    text("status", "--all")
    only("pause", "--free")
    printed("resume", code=0)
    only("log")
    both("history")
    printed("history", "--bursts", code=0)
    text("retry")
    sandbox.change(failure_rate=1.0)
    text("run", "-n", "99", "--max-attempts", "1", code=1)
    text("retry", "--all")
    text("run", "-n", "99", "--max-attempts", "1", "--all", code=1)
    sandbox.change(failure_rate=0.0)
    only("retry")
    both("update", "--output", "elsewhere", "--dry-run")
    printed("run", "-n", "99", code=0)
    for image in (home / "out").rglob("*.png"):
        image.unlink()
    both("verify", code=1)
    both(*GENERATE, "--count", str(COUNT), "--layout", "batch", "--dry-run")
    only(*GENERATE, "--count", str(COUNT), "--layout", "batch")
    batch = str(found.short["burst.generate/2"]["batch"])
    both("status", batch)
    (home / "list.txt").write_text("\n".join(f"a fox {number}" for number in range(COUNT)))
    both("sync", "list.txt", "--name", "cast", "--dry-run")
    both("batches", "list")
    only("report", batch, "--html")
    for path in (home / "out").rglob("*.json"):
        document = checked(json.loads(path.read_bytes()))
        found.short[document["schema"]] = document
    both("batches", "clean", "--older-than", "0h", "--dry-run")
    both("priority", batch, "high")
    both("edit", batch, "--prompt", "a dog", "--rescan", "--dry-run")
    both("forget", batch, "--remove-files", "--dry-run")
    only("star", batch)
    only("tag", "sea", batch)
    both("query")
    only("export", batch, "--to", "dataset")
    only("trash", batch)
    only("trash")
    only("trash", "--restore", batch)
    only("trash", "--empty", "--yes")
    (home / "invert.json").write_text(json.dumps(INVERT))
    only("stage", batch, "invert.json")
    only("adopt")
    only("commands")
    only("schema")
    only("skill", "install")
    only("template", "list")
    only("template", "show", "txt2img-sd15")
    only("template", "check", "txt2img-sd15", "--server")
    only("template", "export", "smoke", "-o", "exported.json")
    only("node", "install", "--comfyui", "ComfyUI")
    only("servers", "add", f"gpu1={sandbox.url}", "--label", "big", "--window", "2")
    only("servers", "list")
    (home / "served").mkdir()
    only("servers", "clean", "gpu1", "--folder", "served", "--dry-run")
    only("schedule", "--every", "5m")
    only("notify", "add", "https://example.org/hook", "--on", "done")
    only("notify", "list")
    event = next(watch_events(home / "re_render_state.json", since=f"{0:016}-{0:012}"))
    found.short["burst.event/1"] = checked(json.loads(json.dumps(event.as_json())))
    only("state", "upgrade")
    only("state", "copy", "re_render_state.json", "copy.json")
    demo = DemoReport(home, home / "sheet.html", 12, 12, 0, 0, (), 5, 2, 8.0)
    found.short["burst.demo/1"] = checked(json.loads(json.dumps(demo.as_json())))
    record = BatchRecord(batch="b", created_at=NOON, total=1, layout="numbered", directory="d")
    end = EndRecord(batch="b", event="e", at=NOON, how="done", completed=1, failed=0, cancelled=0)
    body = letter_of(record, end, Notify(url="http://127.0.0.1/hook"), tried_at=NOON).body
    with open_store(home / "re_render_state.json", read_only=True) as store:
        receiver = Receiver(id="r", url="http://127.0.0.1/hook", at=NOON)
        letter = ReceiverPost(store, BatchesRead(store)).letter_of(trial_event(NOON), receiver, Notices())
    found.short["burst.notification/1"] = checked(json.loads(letter.body))
    found.short["batch event"] = checked(json.loads(body), "batch event")
    return found


def test_each_command_prints_what_its_type_says(documents: Printed) -> None:
    """Checked where they are printed; here, that there is one of each."""
    assert documents.short.keys() == SCHEMAS.keys() - ELSEWHERE


LISTS = (
    *(("burst.dry-run/2", "items"), ("burst.cancel/2", "items"), ("burst.reset/2", "items")),
    *(("burst.status/2", "failures"), ("burst.update/2", "updated"), ("burst.verify/2", "problems")),
    *(("burst.generate-dry-run/2", "items"), ("burst.clean/2", "removed")),
    ("burst.sync/1", "added"),
    ("burst.history/1", "attempts"),
    ("burst.query/1", "images"),
    *(("burst.edit/1", "items"), ("burst.forget/1", "items"), ("burst.forget/1", "removed")),
)


@pytest.mark.parametrize(("name", "field"), LISTS)
def test_lists_hold_the_first_ten_and_all_of_them_with_all(documents: Printed, name: str, field: str) -> None:
    short, whole = documents.short[name], documents.whole[name]
    assert len(whole[field]) >= COUNT
    assert len(short[field]) == FIRST
    assert short[f"{field}_total"] == whole[f"{field}_total"] == len(whole[field])


@pytest.mark.parametrize(("name", "field"), [("burst.report/2", "failures"), ("burst.retry/2", "items")])
def test_lists_of_what_happens_once(documents: Printed, name: str, field: str) -> None:
    assert (len(documents.short[name][field]), documents.short[name][f"{field}_total"]) == (FIRST, COUNT)


@pytest.mark.parametrize("command", ["status", "run -n 99 --max-attempts 1"])
def test_text_lists_the_first_ten_failures_and_all_of_them_with_all(documents: Printed, command: str) -> None:
    short, whole = documents.texts[command], documents.texts[f"{command} --all"]
    assert "… and 2 more failed (--all shows them)" in short
    assert "more failed" not in whole
    for text, count in ((short, FIRST), (whole, COUNT)):
        assert len(re.findall(r"(?:^| )Failed: ", text, flags=re.MULTILINE)) == count


def test_doctor_names_what_is_well_and_describes_what_is_not(documents: Printed) -> None:
    short, whole = documents.short["burst.doctor/2"], documents.whole["burst.doctor/2"]
    assert [(check["name"], check["verdict"]) for check in short["checks"]] == [("failed", "warning")]
    assert {"state", "server", "output"} <= set(short["passed"])
    assert [check["name"] for check in whole["checks"] if check["verdict"] == "ok"] == short["passed"]
    assert len(whole["checks"]) == len(short["passed"]) + 1


def test_a_list_that_is_cut_has_its_length_beside_it() -> None:
    assert shortened({"notes": [1, 2]}, "notes") == {"notes": [1, 2]}
    long = {"notes": list(range(11))}
    assert shortened(long, "notes") == {"notes": list(range(10)), "notes_total": 11}
    assert shortened(long, "notes", everything=True) == {"notes": list(range(11))}


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_total_is_that_of_a_list(name: str) -> None:
    """So that `NAME_total` can be looked for beside any list."""
    fields = get_type_hints(SCHEMAS[name].type)
    assert [field for field in fields if field.endswith("_total") and field.removesuffix("_total") not in fields] == []


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_json_schema_says_what_fields_there_are_and_what_they_mean(name: str) -> None:
    schema = json_schema(name)
    assert schema["description"]
    assert list(schema["properties"]) == list(get_type_hints(SCHEMAS[name].type))
    if name != "batch event":
        assert schema["properties"]["schema"] == {"enum": [name]}


def test_a_field_that_is_inherited_keeps_its_text() -> None:
    inherited = json_schema("burst.batch/2")["properties"]["prompts"]
    assert inherited["description"] == "Its prompt texts: the first ten."


def test_what_a_state_keeps_fits_its_json_schema(documents: Printed) -> None:
    kept = json.loads((documents.home / "re_render_state.json").read_bytes())
    assert len({record["status"] for record in kept.values()}) > 1
    fits(kept, "state")
    folder = documents.home / "re_render_state.burst"
    recipes = [json.loads(line)["recipe"] for line in (folder / "recipes.jsonl").read_text().splitlines()]
    bursts = [json.loads(line) for line in (folder / "bursts.jsonl").read_text().splitlines()]
    assert len(recipes) > 1
    assert len(bursts) > 1
    for recipe in recipes:
        fits(recipe, "recipe")
    for burst in bursts:
        fits(burst, "burst-record")


def test_a_file_that_somebody_writes_by_hand_can_be_checked() -> None:
    record = {"status": "pending", "subfolder": "EP01", "filename": "prompt_1.txt", "of their own": 1}
    fits({"/path/to/prompt_1.txt": record}, "state")
    for wrong in ({"status": "done"}, {"subfolder": "EP01"}, {"status": "pending", "attempts": -1}):
        assert list(validator("state").iter_errors({"a": wrong})), wrong
    assert list(validator("recipe").iter_errors({"bindngs": {}}))


@pytest.mark.parametrize("name", KEPT)
def test_every_field_of_what_a_state_keeps_is_described(name: str) -> None:
    schema = json_schema(name)
    parts = [schema, *schema.get("$defs", {}).values()]
    fields = {field: found for part in parts for field, found in part.get("properties", {}).items()}
    assert [field for field, found in fields.items() if not found.get("description")] == []


@pytest.mark.parametrize("name", ALL)
def test_schemas_are_found_by_their_short_names(name: str) -> None:
    assert schema_named(name) == schema_named(ALL[name].short_name) == ALL[name]


def test_a_misspelt_schema_gets_near_matches() -> None:
    with pytest.raises(UsageError, match="no schema 'reprot'; did you mean 'report'"):
        schema_named("reprot")


def test_the_command_prints_a_schema_that_other_programs_can_read() -> None:
    for arguments in (["schema", "error"], ["schema", "error", "--json"]):
        result = CliRunner().invoke(cli, arguments)
        assert json.loads(result.stdout) == json_schema("burst.error/1")
    assert result.stdout.count("\n") == 1
    listed = CliRunner().invoke(cli, ["schema"]).stdout
    assert all(re.search(rf"^{re.escape(name)}  ", listed, re.MULTILINE) for name in ALL)


def test_a_kind_of_error_that_is_not_known_fits_too() -> None:
    error = {"schema": "burst.error/1", "error": {"kind": "OfANewerBurst", "message": "x"}, "exit_code": 2}
    fits(error, "burst.error/1")
