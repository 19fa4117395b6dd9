"""Dynamic prompts from the request to the sidecar: what is chosen, recorded, continued, refused and taken literally."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from batches.test_planning import plan
from click.testing import CliRunner
from support.documents import checked

from burst import cli
from orchestrator.batches.generate_report import Generated
from orchestrator.batches.sidecars import read_sidecar
from orchestrator.batches.spec import BatchSpec
from orchestrator.cycle.request import Request
from orchestrator.cycle.run import Run
from orchestrator.errors import RequestConflict, UsageError
from orchestrator.generation import generate
from orchestrator.init_state import init_state
from orchestrator.sandbox import Sandbox, SandboxSettings
from orchestrator.settings import Overrides
from state.batch import Idempotency
from state.item import Item
from state.open_store import open_store

COLOURS = "a {red|green|blue|black|white|grey|pink|brown} fox"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(SandboxSettings()) as running:
        yield running


def wildcards(home: Path, text: str = "fox\nowl\ncat\ndog\nbee\n") -> None:
    (home / "wildcards").mkdir(exist_ok=True)
    (home / "wildcards" / "animal.txt").write_text(text)


def listed(home: Path, *lines: str) -> dict[str, Any]:
    (home / "ideas.txt").write_text("".join(f"{line}\n" for line in lines))
    return {"prompt": None, "prompts_file": str(home / "ideas.txt"), "dynamic": True}


def texts(home: Path, **said: Any) -> list[str | None]:
    return [item.prompt_text for item in plan(home, **{"dynamic": True} | said).items]


def items_of(home: Path) -> list[Item]:
    with open_store(home / "state.json", read_only=True) as store:
        return list(store.items())


def made(home: Path, sandbox: Sandbox | None = None, **said: Any) -> Generated:
    how = {name: said.pop(name) for name in ("always_new", "idempotency", "queue_only") if name in said}
    servers = (sandbox.url,) if sandbox is not None else ("http://127.0.0.1:1",)
    overrides = Overrides(template="txt2img-sd15", output_dir=home / "out", servers=servers)
    outcome = generate(
        BatchSpec(**said),
        request=Request(state=home / "state.json", overrides=overrides),
        **{"queue_only": sandbox is None} | how,
    )
    assert isinstance(outcome, Generated)
    return outcome


# What is chosen


def test_each_variation_chooses_by_its_own_seed(tmp_path: Path) -> None:
    chosen = texts(tmp_path, prompt=COLOURS, seed=7, count=20)
    assert len(set(chosen)) > 4
    assert chosen == texts(tmp_path, prompt=COLOURS, seed=7, count=20)
    assert chosen[3:] == texts(tmp_path, prompt=COLOURS, seed=10, count=17), "the seed alone decides"


@pytest.mark.parametrize("how", [{"seed": 7, "seed_mode": "fixed"}, {"template": "without"}])
def test_where_all_have_one_seed_they_differ_all_the_same(tmp_path: Path, how: dict[str, Any]) -> None:
    if "template" in how:
        graph = {
            "1": {"class_type": "CLIPTextEncode", "inputs": {"text": "x", "clip": ["2", 1]}},
            "2": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "a"}},
            "3": {"class_type": "Sampler", "inputs": {"positive": ["1", 0]}},
            "4": {"class_type": "SaveImage", "inputs": {"images": ["3", 0], "filename_prefix": "x"}},
        }
        (tmp_path / "w.json").write_text(json.dumps(graph))
        how = {"template": str(tmp_path / "w.json")}
    assert len(set(texts(tmp_path, prompt=COLOURS, count=20, **how))) > 4


def test_equal_lines_and_like_lines_of_a_list_choose_apart(tmp_path: Path) -> None:
    equal = texts(tmp_path, **listed(tmp_path, *[COLOURS] * 20), seed=7)
    assert len(set(equal)) > 4
    like = texts(tmp_path, **listed(tmp_path, *(f"{COLOURS} {number}" for number in range(20))), seed=7)
    assert len({str(text)[:5] for text in like}) > 4
    assert like[1:] == texts(tmp_path, **listed(tmp_path, *(f"{COLOURS} {number}" for number in range(1, 20))), seed=7)


def test_the_cells_of_a_sweep_share_what_was_chosen(tmp_path: Path) -> None:
    chosen = texts(tmp_path, prompt=COLOURS, seed=7, count=4, sweeps={"cfg": (5, 7)})
    assert chosen[:4] == chosen[4:]


def test_a_row_chooses_by_its_own_seed_and_a_negative_prompt_too(tmp_path: Path) -> None:
    wildcards(tmp_path)
    (tmp_path / "a.csv").write_text("prompt,seed,negative\n__animal__,5,{bad|ugly}\n__animal__,6,\n")
    said = {"prompt": None, "csv": str(tmp_path / "a.csv"), "dynamic": True, "negative": "no __animal__"}
    items = plan(tmp_path, **said).items
    assert items == replace(plan(tmp_path, **said), items=items).items
    assert items[0].inputs["negative"] in ("bad", "ugly")
    assert str(items[1].inputs["negative"]).startswith("no ")
    assert {*items[1].dynamic["texts"]} == {"prompt", "negative"}


def test_combinations_are_prompts_of_their_own(tmp_path: Path) -> None:
    wildcards(tmp_path, "fox\nowl")
    said = {"prompt": "{a|b} __animal__", "negative": "{x|y}", "seed": 7, "count": 2, "combinatorial": 0}
    items = plan(tmp_path, dynamic=True, **said, sweeps={"cfg": (5, 7)}).items
    assert len(items) == 2 * 2 * 2 * 2 * 2
    assert {(item.prompt_text, item.inputs["negative"]) for item in items} == {
        (f"{one} {other}", third) for one in "ab" for other in ("fox", "owl") for third in "xy"
    }
    assert {item.inputs["seed"] for item in items} == {7, 8}, "so that they differ in one thing alone"
    first = texts(tmp_path, **listed(tmp_path, "{a|b|c}", "{d|e|f}", "g"), combinatorial=2)
    assert first == ["a", "b", "d", "e", "g"]


@pytest.mark.parametrize("layout", ["numbered", "batch", "mirror", "gallery"])
def test_combinations_have_file_names_of_their_own(tmp_path: Path, layout: str) -> None:
    (tmp_path / "a.csv").write_text(
        "prompt,name\n{a|b|c},hero\n{d|e},mage\n" if layout == "mirror" else "prompt\n{a|b}\n"
    )
    said = {"prompt": None, "csv": str(tmp_path / "a.csv"), "layout": layout, "combinatorial": 0, "count": 2}
    items = plan(tmp_path, dynamic=True, **said).items
    assert len({(item.subfolder, item.filename, item.sidecar) for item in items}) == len(items)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"prompt": "__n__ __n__ __n__", "combinatorial": 0}, "1000000000 combinations"),
        ({"prompt": "__n__", "combinatorial": 0, "count": 999}, "1000 combinations × 999 variations are 999000 items"),
        ({"prompt": "{|}"}, "prompt: the prompt is empty with the choices made"),
    ],
)
def test_what_cannot_be_a_batch(tmp_path: Path, said: dict[str, Any], words: str) -> None:
    wildcards(tmp_path)
    (tmp_path / "wildcards" / "n.txt").write_text("\n".join(map(str, range(1000))))
    with pytest.raises(UsageError, match=words):
        plan(tmp_path, dynamic=True, **said)


def test_faults_are_at_a_line_and_a_column(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("\n\n  fine,\nnot {a|b\n")
    (tmp_path / "a.csv").write_text("prompt,negative\nx,fine {a\n")
    for said, words in (
        (listed(tmp_path, "fine", "# {", "   not {a|b"), "ideas.txt line 3, column 8"),
        ({"prompt": None, "prompt_file": str(tmp_path / "one.txt")}, "one.txt line 4, column 5"),
        ({"prompt": None, "csv": str(tmp_path / "a.csv")}, "a.csv line 2, negative, column 6"),
        ({"negative": "a {b"}, "negative, column 3"),
        ({"sweeps": {"negative": ("a", "b {c")}}, "negative, column 3"),
        ({"prompt": "a {b"}, "prompt, column 3"),
    ):
        with pytest.raises(UsageError) as caught:
            plan(tmp_path, **{"dynamic": True} | said)
        assert words in str(caught.value)


# Without --dynamic


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"prompt": "a {b|c} d"}, "prompt: '{b|c}' looks like a dynamic prompt; add dynamic=True"),
        ({"negative": "__bad__"}, "negative: '__bad__'"),
        ({"sweeps": {"negative": ("a", "{b|c}")}}, "negative: '{b|c}'"),
        ({"lines": ("a", "b __c__", "d", "{e|f}")}, r"ideas.txt line 2: '__c__' looks .* \(and 1 other text\)"),
    ],
)
def test_text_that_looks_dynamic_is_refused_and_both_flags_are_named(
    tmp_path: Path, said: dict[str, Any], words: str
) -> None:
    if "lines" in said:
        said = listed(tmp_path, *said["lines"]) | {"dynamic": False}
    with pytest.raises(UsageError, match=words) as caught:
        plan(tmp_path, **said)
    assert "literal=True" in str(caught.value)
    assert plan(tmp_path, literal=True, **said).items


def test_literal_text_goes_out_as_it_is(tmp_path: Path) -> None:
    text = r"a {b|c} __d__ \{e\}"
    (item,) = plan(tmp_path, prompt=text, literal=True).items
    assert (item.prompt_text, item.dynamic) == (text, {})


def test_escapes_are_taken_away_by_dynamic_alone(tmp_path: Path) -> None:
    text = r"\{b\|c\} (style \(x\))"
    assert texts(tmp_path, prompt=text) == [r"{b|c} (style \(x\))"]
    assert texts(tmp_path, prompt=text, dynamic=False) == [text]


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"from_file": "a.txt", "dynamic": True}, "from_file makes an image again"),
        ({"dynamic": True, "literal": True}, "dynamic or literal"),
        ({"wildcards": ("x",)}, "wildcards: give dynamic=True too"),
        ({"combinatorial": 0}, "combinatorial: give dynamic=True too"),
        ({"dynamic": True, "combinatorial": -1}, "take 1 combination or more"),
        ({"dynamic": True, "combinatorial": 0, "sweeps": {"negative": ("a", "b")}}, r"sweeps\[.negative.\]"),
        ({"dynamic": True, "wildcards": ("",)}, "wildcards: the path is empty"),
    ],
)
def test_what_does_not_go_together(said: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        BatchSpec(**({} if "from_file" in said else {"prompt": "x"}) | said).checked()


# The same request


def test_the_same_request_continues_and_another_one_does_not(tmp_path: Path) -> None:
    wildcards(tmp_path)
    said = {"prompt": "a {red|blue} __animal__", "count": 5, "dynamic": True}
    first = made(tmp_path, **said)
    chosen = [item.prompt_text for item in items_of(tmp_path)]
    again = made(tmp_path, **said)
    assert (again.record.batch, again.continued) == (first.record.batch, True)
    assert [item.prompt_text for item in items_of(tmp_path)] == chosen
    (tmp_path / "wildcards" / "unused.txt").write_text("x")
    assert made(tmp_path, **said).continued, "a wildcard that it does not name"
    assert not made(tmp_path, **said, combinatorial=2).continued
    assert not made(tmp_path, **said, always_new=True).continued
    wildcards(tmp_path, "fox\nowl\n")
    assert not made(tmp_path, **said).continued, "the wildcard holds something else"


def test_another_request_of_the_same_name_says_what_differs(tmp_path: Path) -> None:
    wildcards(tmp_path)
    said = {"prompt": "a __animal__", "dynamic": True, "name": "zoo"}
    made(tmp_path, **said)
    assert made(tmp_path, **said).continued
    with pytest.raises(RequestConflict, match="combinatorial"):
        made(tmp_path, **said, combinatorial=0)
    wildcards(tmp_path, "fox")
    with pytest.raises(RequestConflict, match="dynamic differs"):
        made(tmp_path, **said)


def test_a_key_answers_with_its_batch(tmp_path: Path) -> None:
    said = {"prompt": COLOURS, "dynamic": True, "idempotency": Idempotency(key="k", body="b")}
    assert made(tmp_path, **said).record.batch == made(tmp_path, **said).record.batch


def test_requests_without_dynamic_prompts_are_what_they_were(tmp_path: Path) -> None:
    parts = dict(plan(tmp_path, prompt="a fox").record.request_parts)
    assert parts == dict(plan(tmp_path, prompt="a fox", literal=True).record.request_parts)
    assert not [name for name in parts if name in ("--dynamic", "--combinatorial", "--literal")]


# Rendered


@pytest.mark.parametrize("layout", ["numbered", "batch"])
def test_the_sidecar_says_what_was_chosen_and_makes_it_again(tmp_path: Path, sandbox: Sandbox, layout: str) -> None:
    wildcards(tmp_path)
    prompt = r"a {red|blue} __animal__ \{x\|y\}"
    made(tmp_path, sandbox, prompt=prompt, count=3, dynamic=True, layout=layout, size=(64, 64))
    item = items_of(tmp_path)[1]
    sidecar = tmp_path / "out" / str(item.sidecar)
    inputs, facts = read_sidecar(sidecar)
    assert inputs["prompt"] == item.prompt_text
    assert str(item.prompt_text).endswith("{x|y}")
    assert facts["dynamic"] == item.dynamic
    assert facts["dynamic"]["texts"] == {"prompt": prompt}
    assert [one for one, _ in facts["dynamic"]["chosen"]] == ["{red|blue}", "__animal__"]
    assert all(text in inputs["prompt"] for _, text in facts["dynamic"]["chosen"])
    if sidecar.suffix == ".json":
        checked(json.loads(sidecar.read_text()))
    made(tmp_path, sandbox, from_file=str(sidecar))
    again = items_of(tmp_path)[-1]
    assert (again.prompt_text, again.inputs["seed"]) == (item.prompt_text, item.inputs["seed"])


def test_an_edited_record_keeps_what_this_version_does_not_know(tmp_path: Path) -> None:
    made(tmp_path, prompt=COLOURS, dynamic=True)
    (item,) = items_of(tmp_path)
    odd = json.loads(item.to_record())
    odd["dynamic"]["newer"] = [1]
    again = Item.from_record(item.key, json.dumps(odd).encode())
    assert json.loads(again.to_record())["dynamic"] == odd["dynamic"]


# Prompt files


def test_init_and_run_note_prompt_files_that_look_dynamic(tmp_path: Path, sandbox: Sandbox) -> None:
    (tmp_path / "prompts").mkdir()
    for name, text in (("a", "a {b|c}"), ("b", "a fox"), ("c", "__d__"), ("e", r"\{a|b\}")):
        (tmp_path / "prompts" / f"{name}.txt").write_text(text)
    overrides = Overrides(template="smoke", output_dir=tmp_path / "out", servers=(sandbox.url,))
    report = init_state(tmp_path / "state.json", [tmp_path / "prompts"], overrides=overrides)
    (note,) = report.notes
    assert note.startswith("2 prompts look like dynamic prompts")
    assert init_state(tmp_path / "state.json", [tmp_path / "prompts"]).notes == (), "of those that were added"
    made(tmp_path, sandbox, prompt="{x|y}", literal=True, queue_only=True)
    ran = Run(Request(state=tmp_path / "state.json", size=10)).execute()
    assert ran.counts.remaining == 0
    assert [note for note in ran.notes if "dynamic" in note] == [note], "not of those that --literal sent"


# The command line


def test_the_command_line(tmp_path: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    wildcards(tmp_path, "fox\nowl")
    base = ["generate", "--template", "smoke", "--dry-run", "--json", "--all", "--server", sandbox.url]

    def prompts(*said: str) -> list[str]:
        result = CliRunner().invoke(cli, [*base, "--prompt", *said])
        assert result.exit_code == 0, result.output
        return [item["prompt"] for item in json.loads(result.stdout)["items"]]

    assert prompts("{a|b} __animal__", "--dynamic", "--combinatorial") == ["a fox", "a owl", "b fox", "b owl"]
    assert prompts("{a|b} __animal__", "--dynamic", "--combinatorial", "3") == ["a fox", "a owl", "b fox"]
    assert prompts("{a|b} __animal__", "--combinatorial", "--dynamic", "--wildcards", "wildcards")[0] == "a fox"
    assert prompts("{a|b}", "--literal") == ["{a|b}"]


# Its price


def test_wildcards_of_thousands_of_entries_do_not_multiply_the_time_of_planning(tmp_path: Path) -> None:
    """A ratio of the CPU's time, the best of three: 1.5 to 2, and over 5 where each prompt looks at every entry."""
    wildcards(tmp_path, "\n".join(f"animal {number}" for number in range(2000)))
    lines = [f"prompt {number} of a {{red|blue|2::green}} __animal__ in the rain" for number in range(2000)]
    said = listed(tmp_path, *lines)
    literal = {**said, "dynamic": False, "literal": True}

    def seconds(how: dict[str, Any]) -> float:
        began = time.process_time()
        assert len(plan(tmp_path, **how).items) == 2000
        return time.process_time() - began

    ratio = min(seconds(said) / seconds(literal) for _ in range(3))
    assert ratio <= 4
