"""What may be asked for: every flag's limits, the spelling of values, and a template's names for them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.vocabularies import vocabulary

from orchestrator.batches.flags import parse_set, parse_sets, parse_size, parse_sweep, parse_sweeps
from orchestrator.batches.spec import SOURCES, BatchSpec, field_named
from orchestrator.batches.values import LARGEST_SEED, fitted
from orchestrator.commands.flag_names import as_flag
from orchestrator.errors import UsageError
from orchestrator.wording import process_speaks


def asked(**said: Any) -> BatchSpec:
    return BatchSpec(prompt="a house", **said)


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"count": 1},
        {"count": 999},
        {"seed": 0},
        {"seed": LARGEST_SEED},
        {"seed": LARGEST_SEED - 4, "count": 5},
        {"seed": LARGEST_SEED, "count": 5, "seed_mode": "fixed"},
        {"seed_mode": "random", "count": 5},
        {"negative": ""},
        {"size": (8, 16384)},
        {"batch_size": "auto"},
        {"loras": ("a.safetensors", "b:c.safetensors:-0.5")},
        {"cfg": 0},
        {"cfg": 7.5, "steps": 1},
        {"sets": {"3.steps": 20}, "sweeps": {"cfg": (5, 7)}},
        {"sweeps": {"seed": (1, 2)}},
        {"stem": "Dr. Strange v1.5"},
        {"notify": ("https://user@example.org:8443/hook?x=1",)},
    ],
)
def test_what_fits_is_left_as_it_is(said: dict[str, Any]) -> None:
    assert asked(**said).checked() == asked(**said)


REFUSED = [
    ({"count": 0}, "--count 0: .* 1 to 999"),
    ({"count": 1000}, "--count 1000: .* 1 to 999"),
    ({"seed": -2}, "--seed: seed is from 0 to 18446744073709551615"),
    ({"seed": LARGEST_SEED + 1}, "--seed: seed is from 0"),
    ({"seed": LARGEST_SEED, "count": 2}, "--seed: .* ends over 18446744073709551615"),
    ({"seed": 1, "seed_mode": "random"}, "--seed-mode random .* leave --seed out"),
    ({"seed_mode": "shuffled"}, "--seed-mode: 'shuffled' is not one of increment, random, fixed"),
    ({"priority": "soon"}, "--priority: 'soon' is not one of urgent, high, normal, low"),
    ({"layout": "flat"}, "--layout: 'flat' is not one of numbered, batch, mirror"),
    ({"on_error": "retry"}, "--on-error: 'retry' is not one of stop, continue"),
    ({"model": " "}, "--model: the name is empty"),
    ({"template": ""}, "--template: the name is empty"),
    ({"loras": ("",)}, "--lora: lora is empty"),
    ({"loras": ("a", ":0.5")}, "--lora: ':0.5' has no LoRA name"),
    ({"loras": ("a:500",)}, "--lora: lora_strength is from -100 to 100"),
    ({"steps": 0}, "--steps: steps is from 1 to 10000"),
    ({"cfg": 101.0}, "--cfg-scale: cfg is from 0 to 100"),
    ({"cfg": float("nan")}, "--cfg-scale: cfg is a number"),
    ({"size": (1001, 700)}, "--size: .* multiples of 8; 1000x704 is the nearest"),
    ({"size": (3, 512)}, "--size: .* 8x512 is the nearest"),
    ({"size": (0, 512)}, "--size: .* 8x512 is the nearest"),
    ({"size": (-8, 512)}, "--size: a size is written as WIDTHxHEIGHT"),
    ({"size": (16392, 512)}, "--size: width is from 8 to 16384"),
    ({"batch_size": 0}, "--batch-size: batch_size is from 1"),
    ({"sets": {"steps": 0}}, "--set steps: steps is from 1"),
    ({"sets": {"Seed": 5}}, "--set seed: use --seed"),
    ({"sets": {"3.steps": [1]}}, "--set 3.steps: a value is a text"),
    ({"sweeps": {"cfg": ()}}, "--sweep cfg: it has no values"),
    ({"sweeps": {"cfg": (5, 7, 5)}}, "--sweep cfg: 5 is there twice"),
    ({"sweeps": {"cfg-scale": (5, -1)}}, "--sweep cfg-scale: cfg is from 0"),
    ({"sweeps": {"seed": (1, 2)}, "count": 2}, "--sweep seed sets every seed"),
    ({"sweeps": {"seed": (1, 2)}, "seed_mode": "random"}, "--sweep seed sets every seed"),
    ({"sweeps": {"seed": (1, 2)}, "seed": 1}, "--seed and --sweep seed both set seed"),
    ({"cfg": 7, "sweeps": {"cfg": (5, 7)}}, "--cfg-scale and --sweep cfg both set cfg"),
    ({"cfg": 7, "sets": {"cfg_scale": 5}}, "--cfg-scale and --set cfg_scale both set cfg"),
    ({"sets": {"cfg": 5}, "sweeps": {"cfg": (5, 7)}}, "--set cfg and --sweep cfg both set cfg"),
    ({"size": (512, 512), "sweeps": {"width": (512, 768)}}, "--size and --sweep width both set width"),
    ({"sweeps": {"width": (512, 768), "size": ("512x512",)}}, "--sweep width and --sweep size both set width"),
    ({"stem": "prompt"}, "--stem: .* called prompt already"),
    ({"stem": "../x"}, "--stem: .* holds a /"),
    ({"stem": "con"}, "--stem: .* reserved"),
    ({"stem": "é" * 125}, "--stem: .* over 255 bytes"),
    ({"notify": ("ftp://x/y",)}, "--notify: write an address such as https://"),
    ({"notify": ("https://[x",)}, "--notify: write an address"),
    ({"notify": ("https:///path",)}, "--notify: write an address"),
]


@pytest.mark.parametrize(("said", "message"), REFUSED, ids=[message[:40] for _, message in REFUSED])
def test_what_does_not_fit_is_refused_by_its_flag(said: dict[str, Any], message: str) -> None:
    with process_speaks(as_flag), pytest.raises(UsageError, match=message):
        asked(**said).checked()


def test_one_source_is_said() -> None:
    with pytest.raises(UsageError, match=r"choose one source of prompts, prompt, .*from_batch; none given"):
        BatchSpec().checked()
    with pytest.raises(UsageError, match="prompt and csv are given"):
        asked(csv="x.csv").checked()
    assert [BatchSpec(**{source: "x"}).checked().source for source in SOURCES] == list(SOURCES)


@pytest.mark.parametrize(
    ("text", "message"), [("", "empty"), (" \n", "empty"), ("a\0", "NUL"), ("\udcff", "not Unicode")]
)
def test_a_prompt_that_cannot_be_sent_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=f"prompt.* {message}"):
        BatchSpec(prompt=text).checked()


def test_a_secret_in_an_address_is_not_repeated() -> None:
    with pytest.raises(UsageError) as refused:
        asked(notify=("https//user:hunter2@example.org",)).checked()
    assert "hunter2" not in str(refused.value)


def test_the_inputs_that_all_items_share() -> None:
    said = asked(
        negative="",
        loras=("a", "b:0.5"),
        cfg=7.5,
        size=(512, 768),
        batch_size="auto",
        seed=5,
        sets={"3.denoise": 0.5},
    )
    expected = {"negative": "", "lora": ["a", "b:0.5"], "cfg": 7.5, "width": 512, "height": 768, "3.denoise": 0.5}
    assert said.inputs() == expected
    assert asked(loras=("a",), batch_size=4, sets={"size": "8x16"}).inputs() == {
        "lora": "a",
        "batch_size": 4,
        "width": 8,
        "height": 16,
    }


def test_a_field_is_named_as_its_reader_writes_it() -> None:
    names = ("cfg", "height", "lora", "loras", "from_file", "seed_mode")
    assert [field_named(name) for name in names] == ["cfg", "size", "loras", "loras", "from_file", "seed_mode"]
    with process_speaks(as_flag):
        said = [field_named(name) for name in names]
    assert said == ["--cfg-scale", "--size", "--lora", "--lora", "--from", "--seed-mode"]


def test_settled_by_a_template_an_address_is_the_name_that_sets_the_same() -> None:
    said = asked(
        sets={"class=KSampler.steps": "30", "title=Size.width": 512, "5.height": "768", "title=Sampler.denoise": "0.5"},
        sweeps={"3.cfg": ("5", 7)},
    )
    settled = said.settled(vocabulary())
    assert settled.sets == {"steps": 30, "width": 512, "height": 768, "denoise": 0.5}
    assert settled.sweeps == {"cfg": (5, 7)}
    assert said.settled(vocabulary(strength="3.denoise")).sets["strength"] == 0.5


def test_an_address_of_one_input_is_no_name_that_sets_several() -> None:
    settled = asked(sets={"3.denoise": 0.5}).settled(vocabulary(strength="3.denoise,3.cfg"))
    assert settled.sets == {"denoise": 0.5}


@pytest.mark.parametrize(
    ("template", "said", "message"),
    [
        (
            "smoke",
            {"steps": 20},
            r"--steps: .* no binding 'steps' \(available: .*\); add one with --bind steps=",
        ),
        ("smoke", {"size": (512, 512), "cfg": 7}, "--cfg-scale: this workflow has no binding 'cfg'"),
        ("img2img", {"sets": {"size": "512x512"}}, "no binding 'size' .* --bind width=NODE.INPUT --bind height="),
        ("img2img", {"size": (512, 512)}, "--size: .* no binding 'width'"),
        ("txt2img-sd15", {"sets": {"stepz": 20}}, "--set stepz: .* no binding 'stepz' .* did you mean 'steps'"),
        ("txt2img-sd15", {"sets": {"name": "x"}}, "--set name: .* --layout mirror alone"),
        ("txt2img-sd15", {"sets": {"zzz": 20}}, "--set zzz: .* an input is NODE.INPUT"),
        ("txt2img-sd15", {"sets": {"3.stepz": 20}}, "--set 3.stepz: .* did you mean 'steps'"),
        ("txt2img-sd15", {"sets": {"6.text": "a cat"}}, "--set 6.text: '6.text' is the prompt text"),
        ("txt2img-sd15", {"sweeps": {"prompt": ("a", "b")}}, "--sweep prompt: 'prompt' is the prompt text"),
        (
            "txt2img-sd15",
            {"sets": {"9.filename_prefix": "x"}},
            "'9.filename_prefix' is the prefix .* burst sets",
        ),
        ("txt2img-sd15", {"sets": {"3.seed": 5}}, "--set seed: use --seed"),
        ("txt2img-sd15", {"sets": {"3.steps": 0}}, "--set steps: steps is from 1"),
        (
            "txt2img-sd15",
            {"sets": {"3.cfg": 5, "class=KSampler.cfg": 6}},
            "--set class=KSampler.cfg: cfg is given",
        ),
        ("txt2img-sd15", {"sets": {"3.denoise": 1, "title=Sampler.denoise": 1}}, "denoise is given twice"),
        ("txt2img-sd15", {"steps": 20, "sets": {"3.steps": 30}}, "--steps and --set steps both set steps"),
        ("txt2img-sd15", {"sweeps": {"3.seed": (1, 2)}, "count": 2}, "--sweep seed sets every seed"),
    ],
)
def test_what_a_template_does_not_take_is_refused(template: str, said: dict[str, Any], message: str) -> None:
    with process_speaks(as_flag), pytest.raises(UsageError, match=message):
        asked(**said).settled(vocabulary(template))


def test_a_seed_that_no_node_takes_is_refused() -> None:
    bare = vocabulary()
    bindings = {name: targets for name, targets in bare.bindings.items() if name != "seed"}
    with pytest.raises(UsageError, match=r"seed: .* no binding 'seed'"):
        asked(seed=5).settled(type(bare)(bare.graph, bindings))


def test_a_lora_needs_no_binding() -> None:
    said = asked(loras=("a",), sweeps={"lora_strength": (0.4, 0.8)})
    assert "lora" not in vocabulary().bindings
    assert said.settled(vocabulary()) == said


@pytest.mark.parametrize("text", ["1024x768", " 1024 X 768 ", "1024×768"])
def test_a_size(text: str) -> None:
    assert parse_size(text) == (1024, 768)


@pytest.mark.parametrize("text", ["1024", "x768", "1024x768x3", "a x b", "1024,768", "1000x1001", "-8x8"])
def test_no_size(text: str) -> None:
    with pytest.raises(UsageError, match="size="):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3.steps=20", ("3.steps", 20)),
        ("98:6.text=a = b.c", ("98:6.text", "a = b.c")),
        ("title=Positive Prompt.text=a=b", ("title=Positive Prompt.text", "a=b")),
        ("class=KSampler.cfg=7.5", ("class=KSampler.cfg", 7.5)),
        ("title=plain", ("title", "plain")),
        ("CFG-Scale=7", ("cfg", 7)),
        ("sampler=2024", ("sampler", "2024")),
        ("3.text=", ("3.text", "")),
        ("3.text= spaced ", ("3.text", " spaced ")),
    ],
)
def test_a_setting(text: str, expected: tuple[str, object]) -> None:
    assert parse_set(text) == expected


@pytest.mark.parametrize("text", ["steps", "=5", " =5", "steps=many", ""])
def test_no_setting(text: str) -> None:
    with pytest.raises(UsageError, match="sets="):
        parse_set(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cfg=5,7,9", ("cfg", (5, 7, 9))),
        ("cfg_scale=5, 7.5", ("cfg", (5, 7.5))),
        ("3.denoise=0.5,1", ("3.denoise", (0.5, 1))),
        ("class=KSampler.sampler_name=euler,dpmpp_2m", ("class=KSampler.sampler_name", ("euler", "dpmpp_2m"))),
        ('negative="blurry, dark", "say ""no"""', ("negative", ("blurry, dark", 'say "no"'))),
        ("size=512x512,512X768", ("size", ("512x512", "512x768"))),
        ("model=a.safetensors", ("model", ("a.safetensors",))),
    ],
)
def test_a_sweep(text: str, expected: tuple[str, object]) -> None:
    assert parse_sweep(text) == expected


@pytest.mark.parametrize(
    "text", ["cfg", "cfg=", "cfg=5,", "cfg=5,,7", 'negative="a', 'negative="a"b', "cfg=5,many", "3.text=a,,b"]
)
def test_no_sweep(text: str) -> None:
    with pytest.raises(UsageError, match="sweeps="):
        parse_sweep(text)


def test_a_name_is_said_once() -> None:
    assert parse_sets(["3.a=1", "4.a=1"]) == {"3.a": 1, "4.a": 1}
    assert parse_sweeps(["cfg=5,7", "steps=10"]) == {"cfg": (5, 7), "steps": (10,)}
    with pytest.raises(UsageError, match=r"sets\['cfg'\] is given twice"):
        parse_sets(["cfg=1", "cfg_scale=2"])
    with pytest.raises(UsageError, match=r"sweeps\['cfg'\] is given twice"):
        parse_sweeps(["cfg=1", "cfg=2"])


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("seed", "18446744073709551615", LARGEST_SEED),
        ("seed", " +7 ", 7),
        ("steps", "20.0", 20),
        ("steps", 20.0, 20),
        ("cfg", "7", 7),
        ("cfg", ".5", 0.5),
        ("sampler", " euler ", "euler"),
        ("model", "1234", "1234"),
        ("3.x", "20", 20),
        ("3.x", "-0.25", -0.25),
        ("3.x", "1.50", "1.50"),
        ("3.x", "007", "007"),
        ("3.x", "1e5", "1e5"),
        ("3.x", "nan", "nan"),
        ("3.x", "9" * 25, "9" * 25),
        ("3.x", "9" * 5000, "9" * 5000),
        ("3.x", "1_000", "1_000"),
        ("3.x", "٣", "٣"),
        ("3.x", True, True),
        ("lora", ["a", "b:1"], ["a", "b:1"]),
    ],
)
def test_a_value_is_typed_as_it_was_meant(name: str, value: object, expected: object) -> None:
    found = fitted(name, value)
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seed", "1.8E+19"),
        ("seed", 1.8e19),
        ("seed", "1_000"),
        ("seed", True),
        ("steps", "7.5"),
        ("steps", 7.5),
        ("steps", None),
        ("width", "514"),
        ("cfg", "7,5"),
        ("cfg", "1e999"),
        ("cfg", True),
        ("sampler", 5),
        ("sampler", ""),
        ("negative", 5),
        ("lora", []),
        ("lora", [["a"]]),
        ("3.x", None),
        ("3.x", {}),
        ("3.x", 2**64),
        ("3.x", float("inf")),
        ("3.x", "a\0"),
    ],
)
def test_a_value_that_no_input_takes(name: str, value: object) -> None:
    with pytest.raises(UsageError):
        fitted(name, value)


@given(st.integers(0, LARGEST_SEED))
def test_a_seed_keeps_every_digit(seed: int) -> None:
    assert fitted("seed", str(seed)) == fitted("seed", seed) == fitted("3.noise", str(seed)) == seed


@given(st.text(), st.sampled_from(["seed", "cfg", "size", "lora", "sampler", "3.x"]))
def test_any_text_is_a_value_or_refused(text: str, name: str) -> None:
    try:
        found = fitted(name, text)
    except UsageError:
        return
    assert isinstance(found, int | float) or found in (text, text.strip()) or name == "size"
