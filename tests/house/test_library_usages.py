"""Wrong usages of the library, as `tests/commands/test_wrong_usages.py` has those of the command line.

Each message names the parameter as Python writes it; a flag stands in a `burst …` command alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import orchestrator
from orchestrator import BatchSpec, Overrides, Request
from orchestrator.commands.flag_names import as_flag
from orchestrator.errors import BurstError, UsageError
from orchestrator.wording import process_speaks, speaks

STATE = Path("re_render_state.json")
NOBODY = "http://127.0.0.1:1"
COMMANDS = re.compile(r"`burst [^`]*`|its --base-directory")
"""Whose flags these are: burst's to be typed, and ComfyUI's."""

SPECS: list[tuple[dict[str, Any], str]] = [
    (
        {"prompt": None},
        "choose one source of prompts, prompt, prompt_file, prompts_file, csv, jsonl, xlsx, from_file, from_batch; ",
    ),
    ({"csv": "a.csv"}, "prompt and csv are given"),
    ({"prompt": " "}, "prompt: the text is empty"),
    ({"prompt": "a\0b"}, "prompt 'a\\x00b' holds a NUL"),
    ({"count": 0}, "count=0: a prompt has from 1 to 999"),
    ({"size": (60, 64)}, "size: both sides"),
    ({"size": "x"}, "size: a size is written as"),
    ({"steps": 0}, "steps: steps is from 1"),
    ({"cfg": -1.0}, "cfg: cfg is from 0"),
    ({"sampler": " "}, "sampler: the name is empty; write one, or leave it out"),
    ({"loras": (" ",)}, "loras: lora is empty"),
    ({"batch_size": 0}, "batch_size: batch_size is from 1"),
    ({"profile": ""}, "profile: the name is empty"),
    ({"stem": "../x"}, "stem"),
    ({"name": "1st"}, "name '1st': a batch's name"),
    ({"seed_mode": "randm"}, "seed_mode: 'randm' is not one of increment, random, fixed"),
    ({"priority": "top"}, "priority: 'top' is not one of"),
    ({"layout": "flat"}, "layout: 'flat' is not one of"),
    ({"on_error": "retry"}, "on_error: 'retry' is not one of stop, continue"),
    ({"notify": ("example.org",)}, "notify: write an address"),
    ({"seed": -2}, "seed: seed is from 0"),
    ({"seed": 2**64 - 1, "count": 2}, "seed: 18446744073709551615, and one more"),
    ({"seed": 1, "seed_mode": "random"}, "seed_mode='random' draws every seed; leave seed out"),
    ({"sets": {"seed": 1}}, "sets['seed']: use seed"),
    ({"sets": {"steps": "many"}}, "sets['steps']: steps is a whole number"),
    ({"sweeps": {"seed": (1, 2)}, "count": 2}, "sweeps['seed'] sets every seed itself; leave out count and seed_mode="),
    ({"sweeps": {"cfg": ()}}, "sweeps['cfg']: it has no values"),
    ({"sweeps": {"cfg": (7, 7)}}, "sweeps['cfg']: 7 is there twice"),
    ({"steps": 4, "sets": {"steps": 5}}, "steps and sets['steps'] both set steps"),
    ({"size": (64, 64), "sweeps": {"width": (64, 128)}}, "size and sweeps['width'] both set width"),
    ({"sets": {"cfg": 5}, "sweeps": {"cfg": (6, 7)}}, "sets['cfg'] and sweeps['cfg'] both set cfg"),
]


def wrong_spec(said: dict[str, Any]) -> BatchSpec:
    return BatchSpec(**{"prompt": "a lighthouse", **said})


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with a state of one item, in which the calls are made."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "a.txt").write_text("a lighthouse")
    (tmp_path / "rows.csv").write_text("prompt,frobnicate\na fox,1\n")
    (tmp_path / "seeds.csv").write_text("prompt,seed\na fox,1\n")
    (tmp_path / "notes.txt").write_text("not a page")
    (tmp_path / "sidecar.json").write_text('{"prompt": "a fox"}')
    init(overrides=Overrides(template="smoke", servers=(NOBODY,)))
    return tmp_path


def generate(**said: Any) -> object:
    request = said.pop("request", Request(state=STATE))
    how = {name: said.pop(name) for name in ("always_new",) if name in said}
    return orchestrator.generate(wrong_spec(said), request=request, queue_only=True, pin_servers=False, **how)


def generate_twice(**other: Any) -> object:
    generate(name="night", seed=1)
    return generate(**{"name": "night", "seed": 1, **other})


def run(**said: Any) -> object:
    return orchestrator.run_burst(STATE, wait_server_seconds=0.0, **said)


def init(**said: Any) -> object:
    return orchestrator.init(STATE, [Path("prompts")], **said)


def two_servers() -> Overrides:
    return Overrides(servers=(NOBODY, "http://127.0.0.1:2"))


def install_over_an_edited_file() -> object:
    Path("custom_nodes").mkdir()
    orchestrator.install_node(Path())
    (edited,) = Path("custom_nodes").rglob("chain.py")
    edited.write_text("changed")
    return orchestrator.install_node(Path())


CALLS: list[tuple[str, Callable[[], object], tuple[str, ...]]] = [
    ("size", lambda: generate(size=(1, 2, 3)), ("size: a size is written",)),
    ("unknown name", lambda: generate(sets={"frobnicate": 1}), ("sets['frobnicate']: ",)),
    ("no binding", lambda: generate(negative="fog"), ("negative: ", "bindings={'negative': 'NODE.INPUT'}, or leave")),
    ("mirror", lambda: generate(sets={"subfolder": "x"}), ("sets['subfolder']", "counts with layout='mirror' alone")),
    ("the prompt", lambda: generate(sets={"prompt": "x"}), ("is the prompt text, which prompt, a list",)),
    ("profile", lambda: generate(profile="fast"), ("profile='fast': there is no such profile",)),
    ("no file", lambda: generate(prompt=None, csv="no.csv"), ("csv='no.csv': cannot be read",)),
    ("column", lambda: generate(prompt=None, csv="rows.csv"), ("rows.csv line 1, column 'frobnicate'",)),
    (
        "a row's seed",
        lambda: generate(prompt=None, csv="seeds.csv", seed_mode="random"),
        ("seeds.csv line 2", "seed_mode='random' draws them"),
    ),
    (
        "no template in it",
        lambda: generate(prompt=None, from_file="sidecar.json"),
        ("sidecar.json",),
    ),
    ("no template", lambda: generate(request=Request(state=Path("new.json"))), ("template: none is set",)),
    ("another request", lambda: generate_twice(seed=2), ("name='night': batch ", "(seed is 1 there)")),
    ("another name", lambda: generate_twice(always_new=True), ("name='night': batch ", "choose another one")),
    (
        "address",
        lambda: generate(request=Request(state=STATE, overrides=Overrides(servers=("ftp://x",)))),
        ("servers: the server's address must be http",),
    ),
    (
        "query",
        lambda: run(server="http://x/?token=1"),
        ("servers: leave out what follows ?", "give a key with headers"),
    ),
    ("misspelt", lambda: run(bindings={"promt": "1.text"}), ("bindings['promt']: no binding",)),
    ("run's size", lambda: run(size=0), ("size: 0 is not from 1",)),
    ("moved", lambda: run(server_moved=("gpu9", "http://127.0.0.1:2")), ("server_moved: nothing is known of gpu9",)),
    ("moved nowhere", lambda: run(server_moved=(NOBODY, NOBODY)), ("server_moved: ", "both the old address and")),
    (
        "password",
        lambda: run(server_moved=("gpu9", "http://u:p@x")),
        ("server_moved takes addresses without a password; give it with servers",),
    ),
    (
        "no state",
        lambda: orchestrator.cancel(Path("no.json")),
        ("no.json: there is no state here", "with state='FILE'."),
    ),
    ("no item", lambda: orchestrator.cancel(STATE, ["b.txt"]), ("has no item and no batch 'b.txt'",)),
    ("retry", lambda: orchestrator.retry(STATE, ["b.txt"]), ("has no item and no batch 'b.txt'",)),
    ("reset", lambda: orchestrator.reset(Path("no.json")), ("there is no state here",)),
    ("status", lambda: orchestrator.read_status(Path("no.json")), ("there is no state here",)),
    ("history", lambda: orchestrator.read_history(Path("no.json"), datetime.now(UTC)), ("there is no state here",)),
    ("verify", lambda: orchestrator.verify_outputs(Path("no.json")), ("there is no state here",)),
    ("pause", lambda: orchestrator.pause(Path("no.json")), ("there is no state here",)),
    (
        "nothing to change",
        lambda: orchestrator.update_items(STATE, overrides=Overrides()),
        ("name what to change: template, bindings, outputs, output_dir, servers or needs",),
    ),
    (
        "made with",
        lambda: orchestrator.update_items(STATE, overrides=Overrides(template="smoke"), made_with="x"),
        ("made_with='x': no item is made with it",),
    ),
    ("no match", lambda: init(patterns=["*.x"]), ("use patterns=['*.md']",)),
    ("no pattern", lambda: init(patterns=["/x"]), ("patterns '/x': say",)),
    (
        "no image",
        lambda: init(images=True, overrides=Overrides(template="img2img")),
        ("no image matches", "other files with patterns"),
    ),
    (
        "masks",
        lambda: init(images=True, masks="mask.png"),
        ("masks 'mask.png': use {stem} exactly once",),
    ),
    (
        "forgotten",
        lambda: init(overrides=Overrides(bindings={"face": ""})),
        ("bindings={'face': ''}: no binding of this name is kept",),
    ),
    (
        "secret header",
        lambda: init(overrides=Overrides(headers={"X-Key": "s3cret"})),
        ("use headers={'X-Key': 'env:VARIABLE'}",),
    ),
    (
        "secret address",
        lambda: init(overrides=Overrides(servers=("http://u:s3cret@x",))),
        ("use servers=['http://x",),
    ),
    (
        "one server",
        lambda: orchestrator.check_template(state=STATE, overrides=two_servers(), ask_server=True),
        ("choose one with servers=['URL']",),
    ),
    ("no page", lambda: orchestrator.write_report(STATE, "night", Path("notes.txt")), ("night",)),
    ("client's header", lambda: orchestrator.ComfyUI(NOBODY, headers={"a b": "c"}), ("headers={'Name': 'value'}",)),
    (
        "node",
        lambda: orchestrator.install_node(Path("prompts")),
        ("has no directory custom_nodes", "name ComfyUI's own"),
    ),
    ("edited node", install_over_an_edited_file, ("Keep a copy of what you want; force=True overwrites them",)),
]


@pytest.mark.parametrize(("said", "words"), SPECS, ids=lambda one: ",".join(one) if isinstance(one, dict) else "")
def test_a_wrong_spec_is_named_by_its_field(said: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        wrong_spec(said).checked()
    assert words in str(caught.value)
    assert "--" not in str(caught.value)


@pytest.mark.parametrize(("call", "words"), [row[1:] for row in CALLS], ids=[row[0] for row in CALLS])
@pytest.mark.usefixtures("home")
def test_a_wrong_call_is_named_by_its_parameter(call: Callable[[], object], words: tuple[str, ...]) -> None:
    with pytest.raises(BurstError) as caught:
        call()
    message = str(caught.value)
    assert [word for word in words if word not in message] == [], message
    assert "s3cret" not in message
    assert "--" not in COMMANDS.sub("", message)


def test_the_same_message_in_the_words_of_a_command_and_of_one_request_among_others() -> None:
    spec = wrong_spec({"seed": 1, "seed_mode": "random"})

    def message() -> str:
        with pytest.raises(UsageError) as caught:
            spec.checked()
        return str(caught.value)

    with process_speaks(as_flag):
        assert message() == "--seed-mode random draws every seed; leave --seed out"
        with speaks(lambda name, _value=None, *, key=None: name.upper()):
            assert message() == "SEED_MODE draws every seed; leave SEED out"
        assert message().startswith("--seed-mode")
    assert message() == "seed_mode='random' draws every seed; leave seed out"
