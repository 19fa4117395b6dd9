"""Profiles and model notes: the shipped ones, a user's own, every fault of a file; and the batch size that fits."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from orchestrator.batches.batch_sizes import ModelNote, automatic_batch_size, free_bytes
from orchestrator.batches.profiles import Profile, load_model_notes, load_profiles, profile_named
from orchestrator.errors import UsageError
from orchestrator.sandbox import Sandbox

ROOT = Path(__file__).parents[2]
RECORDED: dict[str, Any] = json.loads((ROOT / "tests" / "data" / "exchanges.json").read_text())["cases"]
GIB = 1024**3


def own(home: Path, text: str | bytes) -> Path:
    path = home / "profiles.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def told(profile: Profile) -> tuple[object, ...]:
    return tuple(dataclasses.asdict(profile).values())[3:]


def test_the_shipped_profiles(tmp_path: Path) -> None:
    assert {name: told(profile) for name, profile in load_profiles(tmp_path).items()} == {
        "speed": (8, 15, 7.0, "euler_ancestral", "karras", None),
        "balanced": (4, 20, 8.0, "euler_ancestral", "karras", None),
        "quality": (1, 30, 8.5, "dpmpp_2m", "karras", None),
        "animation": (8, 20, 8.0, "euler_ancestral", "karras", "fixed"),
        "tileset": (8, 18, 7.5, "euler_ancestral", "karras", None),
    }
    assert all(profile.description for profile in load_profiles(tmp_path).values())


def test_the_users_own_add_and_replace(tmp_path: Path) -> None:
    path = own(
        tmp_path,
        """
        profiles:
          speed: {steps: 4, sampler: lcm}
          mine: {description: für mich, batch_size: auto, cfg: "6.5", steps: null, seed_mode: random}
          plain:
        """,
    )
    found = load_profiles(tmp_path)
    assert list(found) == ["speed", "balanced", "quality", "animation", "tileset", "mine", "plain"]
    assert found["speed"] == Profile(name="speed", source=path, steps=4, sampler="lcm")
    assert told(found["mine"]) == ("auto", None, 6.5, None, None, "random")
    assert found["plain"] == Profile(name="plain", source=path)
    assert found["mine"].description == "für mich"
    assert found["speed"].inputs() == {"steps": 4, "sampler": "lcm"}
    assert found["mine"].inputs() == {"cfg": 6.5}
    assert found["tileset"].inputs()["batch_size"] == 8


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "profiles:\nmodels:\n", "profiles: {}\n", "\ufeffprofiles:\n"])
def test_a_file_that_says_nothing_changes_nothing(tmp_path: Path, text: str) -> None:
    before = load_profiles(tmp_path), load_model_notes(tmp_path)
    own(tmp_path, text)
    assert (load_profiles(tmp_path), load_model_notes(tmp_path)) == before


def test_yaml_is_read_as_people_mean_it(tmp_path: Path) -> None:
    """Where readers of YAML 1.1 read true, 969 and 83; an alias and a merge."""
    own(
        tmp_path,
        """
        profiles:
          base: &base {steps: 020, cfg: 1e1}
          on: {<<: *base, sampler: on, scheduler: 16:9}
        """,
    )
    found = load_profiles(tmp_path)["on"]
    assert (found.steps, found.cfg, found.sampler, found.scheduler) == (20, 10.0, "on", "16:9")


FAULTS: list[tuple[str, int, str]] = [
    ("profiles:\n  mine:\n    steps: 5\n    stepz: 5\n", 4, r"profiles, mine, stepz: .*did you mean 'steps'\?"),
    ("profile:\n  mine: {steps: 5}\n", 1, r"profile: .*did you mean 'profiles'\?"),
    ("profiles:\n  mine:\n    steps: many\n", 3, "profiles, mine, steps: steps is a whole number"),
    ("profiles:\n  mine:\n    steps: 7.5\n", 3, "profiles, mine, steps: steps is a whole number"),
    ("profiles:\n  mine:\n    steps: true\n", 3, "profiles, mine, steps: expected a number or text, got true or false"),
    ("profiles:\n  mine:\n    steps: [5]\n", 3, "profiles, mine, steps: .*got a list"),
    ("profiles:\n  mine:\n    steps: 2001-01-01\n", 3, "profiles, mine, steps: .*got a date"),
    ("profiles:\n  mine:\n    steps: 0x" + "f" * 5000, 3, "profiles, mine, steps: .*fewer digits"),
    ("profiles:\n  a: {}\n  mine: {batch_size: 0}\n", 3, "profiles, mine, batch_size: batch_size is from 1"),
    ("profiles:\n  mine:\n    cfg: .nan\n", 3, "profiles, mine, cfg: cfg is a number"),
    ("profiles:\n  mine:\n    cfg: 101\n", 3, "profiles, mine, cfg: cfg is from 0 to 100"),
    ("profiles:\n  mine:\n    sampler: 7\n", 3, "profiles, mine, sampler: sampler is a text"),
    ("profiles:\n  mine:\n    sampler: ' '\n", 3, "profiles, mine, sampler: sampler is empty"),
    ("profiles:\n  mine:\n    seed_mode: fix\n", 3, r"profiles, mine, seed_mode: .*did you mean 'fixed'\?"),
    ("profiles:\n  mine:\n    description: 7\n", 3, "profiles, mine, description: expected text, got a whole number"),
    ("profiles:\n  mine: fast\n", 2, "profiles, mine: expected a mapping, got text"),
    ("profiles:\n  - speed\n", 1, "profiles: expected a mapping, got a list"),
    ("- speed\n", 1, "expected a mapping, got a list"),
    ("profiles:\n  7: {steps: 5}\n", 2, "profiles, 7: a name is text; write it in quotes"),
    ("profiles:\n  '': {steps: 5}\n", 2, "profiles, : a name is text"),
    ("profiles:\n  mine:\n    7: 5\n", 2, "profiles, mine: a key is not text; write it in quotes"),
    ("profiles:\n  mine:\n    seed_mode: 7\n", 3, "profiles, mine, seed_mode: expected text, got a whole number"),
    ('profiles:\n  mine:\n    "\\ud800": 7\n', 2, "profiles, mine: holds half a surrogate pair"),
    ("profiles:\n  ? 0x" + "f" * 5000 + "\n  : {}\n", 1, "profiles: a key here is neither text nor a number"),
    ("profiles:\n  null: {steps: 5}\n", 1, "profiles: a key here is neither text nor a number"),
    ("profiles:\n  mine:\n    steps: 5\n    cfg: 2\n    steps: 6\n", 5, "not YAML: found duplicate key"),
    ("profiles:\n  mine: {}\n  mine: {}\n", 3, "not YAML: found duplicate key"),
    ("profiles:\n  mine: {steps: 5\n", 3, "not YAML: .*expected"),
    ("profiles:\n\tmine: {}\n", 2, "not YAML: .*cannot start any token"),
    ("profiles: *gone\n", 1, "not YAML: found undefined alias"),
    ("profiles: !!python/object:os.system {}\n", 1, "not YAML: could not determine a constructor"),
    ("profiles: {}\n---\nprofiles: {}\n", 2, "not YAML: but found another document"),
    ("profiles:\n  base: &b {stepz: 5}\n  mine: {<<: *b}\n", 2, "profiles, base, stepz"),
]


@pytest.mark.parametrize(("text", "line", "said"), FAULTS)
def test_every_fault_names_file_line_and_field(tmp_path: Path, text: str, line: int, said: str) -> None:
    path = own(tmp_path, text)
    with pytest.raises(UsageError) as caught:
        load_profiles(tmp_path)
    assert re.match(rf"{re.escape(str(path))}, line {line}: {said}", str(caught.value))
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"profiles: \xff\n", "not UTF-8 at byte 10"),
        (b"profiles: \x00\n", "a NUL at byte 10"),
        (b"profiles: " + b"[" * 600, "not YAML"),
        (b"#" * (1 << 20) + b"#", "over 1 MiB"),
        (b"profiles: 2001-99-99\n", "not YAML"),
        (b"profiles:\n  mine: {steps: " + b"9" * 5000 + b"}\n", "not YAML"),
    ],
)
def test_what_is_no_such_file_is_said(tmp_path: Path, content: bytes, said: str) -> None:
    path = own(tmp_path, content)
    with pytest.raises(UsageError, match=f"^{re.escape(str(path))}: {said}"):
        load_profiles(tmp_path)


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo], ids=["a directory", "a named pipe, waited for by nobody"])
def test_what_stands_in_its_place_is_said(tmp_path: Path, make: Callable[[Path], None]) -> None:
    """In a process of its own: to wait for a pipe would hold this one up."""
    make(tmp_path / "profiles.yaml")
    script = f"from pathlib import Path; from {load_profiles.__module__} import *; load_profiles(Path.cwd())"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=30
    )
    assert "UsageError" in done.stderr
    assert "profiles.yaml: no ordinary file; put a YAML file there, or nothing" in done.stderr


def test_aliases_that_multiply_are_neither_written_out_nor_walked(tmp_path: Path) -> None:
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    lines += [f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]" for a, b in zip("abcdefghijk", "bcdefghijkl", strict=True)]
    own(tmp_path, "profiles:\n  mine:\n    steps:\n" + "".join(f"      {line}\n" for line in lines))
    with pytest.raises(UsageError, match=r"profiles, mine, steps: .*got a mapping"):
        load_profiles(tmp_path)


FRAGMENTS = (
    *("profiles:", "models:", "mine:", "steps:", "cfg:", "memory_gib:", "{", "}", "[", "]", "\n", "\n  ", "\n    "),
    *("&a ", "*a", "<<: ", "!!set ", "!!binary ", "? ", "- ", "| ", "> ", "'", '"', "#", "%YAML 1.1\n", "---\n", ", "),
    *("1", "0x1F", "1e999", ".inf", "~", "true", "2001-01-01", "1_0", "0b1", "a", "é", "\\", "\t", "\x85", "\ud800"),
)


@settings(
    max_examples=settings.default.max_examples,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(text=st.lists(st.sampled_from(FRAGMENTS), max_size=25).map("".join))
@example(text="profiles: &a {a: *a}")
@example(text="&a {profiles: *a}")
@example(text="profiles: {? {a: 1} : 2}")
@example(text="profiles: {? [a] : 2}")
@example(text="? - profiles:")
@example(text="profiles: !!int")
@example(text="profiles: !!bool")
@example(text="profiles: !!set {a, b}")
@example(text="models: {x: {memory_gib: {1: .inf}}}")
@example(text="profiles: {a: &x {}, b: &x {stepz: 1}}")
def test_any_file_is_read_or_refused_in_one_message(tmp_path: Path, text: str) -> None:
    own(tmp_path, text.encode("utf-8", "surrogatepass"))
    for load in (load_profiles, load_model_notes):
        said = refusal(load, tmp_path)
        assert said is None or (said.startswith(f"{tmp_path / 'profiles.yaml'}") and "\n" not in said)


def refusal(load: Callable[[Path], object], home: Path) -> str | None:
    try:
        load(home)
    except UsageError as error:
        return str(error)
    return None


def test_a_profile_by_name(tmp_path: Path) -> None:
    profiles = load_profiles(tmp_path)
    assert profile_named("quality", profiles).steps == 30
    with pytest.raises(UsageError, match=r"profile='sped': there is no such profile; did you mean 'speed'\?"):
        profile_named("sped", profiles)
    with pytest.raises(UsageError, match=r"there are: animation, balanced, quality, speed, tileset$"):
        profile_named("zzz", profiles)


def test_yaml_is_loaded_where_a_file_is_read_alone() -> None:
    code = "import sys, orchestrator.batches.profiles; print('ruamel.yaml' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


SDXL = [ModelNote("*xl*", {1: 10, 2: 14, 4: 22, 8: 38})]


def test_the_shipped_note_and_the_users_own_before_it(tmp_path: Path) -> None:
    assert load_model_notes(tmp_path) == SDXL
    own(tmp_path, 'models:\n  "sd_xl_turbo*": {description: small, memory_gib: {1: 6.5, "8": 12}}\n')
    assert load_model_notes(tmp_path) == [ModelNote("sd_xl_turbo*", {1: 6.5, 8: 12}), *SDXL]
    stats = server(free=20)
    assert automatic_batch_size(stats, load_model_notes(tmp_path), "SD_XL_Turbo_fp16.safetensors") == 8
    assert automatic_batch_size(stats, load_model_notes(tmp_path), "sd_xl_base_1.0.safetensors") == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "models:\n  a:\n    memory_gib: {1: 8, 2: much}\n",
            "line 3: models, a, memory_gib, 2: expected a number over 0",
        ),
        ("models:\n  a:\n    memory_gib: {1: 0}\n", "line 3: models, a, memory_gib, 1: expected a number over 0"),
        ("models:\n  a:\n    memory_gib: {1: .inf}\n", "line 3: models, a, memory_gib, 1: expected a number over 0"),
        ("models:\n  a:\n    memory_gib:\n      1: 8\n      0: 9\n", "line 5: models, a, memory_gib, 0: batch_size is"),
        ("models:\n  a:\n    memory_gib: 8\n", "line 3: models, a, memory_gib: expected a mapping, got a whole number"),
        ("models:\n  a:\n    memory: {1: 8}\n", r"line 3: models, a, memory: .*did you mean 'memory_gib'\?"),
        ("models:\n  a:\n    description: x\n", "line 2: models, a: memory_gib is missing"),
        ("models:\n  a:\n    memory_gib: {1: }\n", "line 3: models, a, memory_gib, 1: expected a number over 0"),
        ("models:\n  a:\n    memory_gib: {1: true}\n", "line 3: models, a, memory_gib, 1: expected a number over 0"),
        ("models:\n  a:\n    memory_gib: {2001-01-01: 1}\n", "line 3: models, a, memory_gib: a key here is neither"),
        ("models:\n  a:\n", "line 2: models, a: memory_gib is missing"),
        ("models:\n  a:\n    memory_gib: {}\n", "line 2: models, a: memory_gib is missing"),
        ("models:\n  a:\n    description: [x]\n", "line 3: models, a, description: expected text, got a list"),
    ],
)
def test_a_note_that_does_not_fit_is_refused(tmp_path: Path, text: str, said: str) -> None:
    own(tmp_path, text)
    with pytest.raises(UsageError, match=f"profiles.yaml, {said}"):
        load_model_notes(tmp_path)


def server(*, free: float, held: float = 0, unused: float = 0, kind: str = "cuda", ram: float = 64) -> dict[str, Any]:
    """What /system_stats says, in GiB: free at all; reserved by ComfyUI, and of that unused, which is free too."""
    device = {
        "name": "cuda:0 NVIDIA",
        "type": kind,
        "index": 0,
        "vram_total": 80 * GIB,
        "vram_free": free * GIB,
        "torch_vram_total": held * GIB,
        "torch_vram_free": unused * GIB,
    }
    return {"system": {"ram_total": ram * GIB, "ram_free": ram * GIB}, "devices": [device]}


XL = "SDXL/SD_XL_base_1.0.safetensors"


@pytest.mark.parametrize(
    ("stats", "notes", "model", "size"),
    [
        (server(free=9), SDXL, XL, 1),
        (server(free=10), SDXL, XL, 1),
        (server(free=13.99), SDXL, XL, 1),
        (server(free=14), SDXL, XL, 2),
        (server(free=22), SDXL, XL, 4),
        (server(free=37.9), SDXL, XL, 4),
        (server(free=38), SDXL, XL, 8),
        (server(free=80), SDXL, XL, 8),
        # A model that is loaded already makes room, or is the one that is counted.
        (server(free=15, held=7), SDXL, XL, 4),
        (server(free=22, held=7, unused=7), SDXL, XL, 4),
        (server(free=15, held=1, unused=7), SDXL, XL, 2),
        # Devices without memory of their own.
        (server(free=80, kind="cpu", ram=14), SDXL, XL, 2),
        (server(free=80, kind="mps", ram=22), SDXL, XL, 4),
        (server(free=15, held=99, kind="privateuseone"), SDXL, XL, 2),
        # Unknown: the model, its memory, the server's.
        (server(free=80), SDXL, "v1-5-pruned.safetensors", 1),
        (server(free=80), [], XL, 1),
        (server(free=80), SDXL, None, 1),
        ({}, SDXL, XL, 1),
        ({"devices": []}, SDXL, XL, 1),
        ({"devices": [{"type": "cuda", "vram_free": "80 GB"}]}, SDXL, XL, 1),
        ({"devices": [{"type": "cpu", "vram_free": 80 * GIB}]}, SDXL, XL, 1),
        ({"devices": [{"type": "cuda", "vram_free": 22 * GIB}]}, SDXL, XL, 4),
        ({"devices": "none", "system": 7}, SDXL, XL, 1),
        # A size without a note of its own takes no more than the next larger one that has one.
        (server(free=30), [ModelNote("*", {8: 30})], XL, 8),
        (server(free=30), [ModelNote("*", {1: 4, 16: 30})], XL, 8),
        (server(free=29), [ModelNote("*", {1: 4, 16: 30})], XL, 1),
        (server(free=80), [ModelNote("*", {1: 4, 4: 30})], XL, 4),
        # The first note that matches counts, whatever the next one says.
        (server(free=80), [ModelNote("*base*", {1: 4}), *SDXL], XL, 1),
        (server(free=80), [ModelNote("base*", {1: 4}), *SDXL], XL, 8),
    ],
)
def test_the_largest_batch_that_fits(
    stats: dict[str, Any], notes: list[ModelNote], model: str | None, size: int
) -> None:
    assert automatic_batch_size(stats, notes, model) == size


def test_what_real_and_sandbox_servers_say_of_their_memory() -> None:
    answer = RECORDED["system_stats"]["response"]["body"]
    assert free_bytes(answer) == answer["system"]["ram_free"]
    assert automatic_batch_size(answer, SDXL, XL) == 2
    from orchestrator.comfyui import ComfyUI

    with Sandbox() as sandbox:
        assert automatic_batch_size(ComfyUI(sandbox.url).system_stats(), SDXL, XL) == 4
