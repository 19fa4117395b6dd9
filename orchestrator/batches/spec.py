"""What one call of `burst generate` asks for."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self, get_args
from urllib.parse import urlsplit

from orchestrator.batches.layouts import refuse_unsafe
from orchestrator.batches.text_axis import axis_meaning, fitted_axis, spelled_axis, text_axis
from orchestrator.batches.values import LARGEST_SEED, RANDOM_SEED, clean, fitted, parted, parts_of
from orchestrator.batches.vocabulary import Vocabulary, spelled
from orchestrator.errors import UsageError, located
from orchestrator.wording import named
from state.batch import Layout
from state.item import Priority

SeedMode = Literal["increment", "random", "fixed"]
OnError = Literal["stop", "continue"]
LARGEST_COUNT = 999

SOURCES = ("prompt", "prompt_file", "prompts_file", "csv", "jsonl", "xlsx", "from_file", "from_batch")
"""Where prompts come from: one of these is given. `from_batch` brings images, so a prompt may be given beside it."""
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,63}")
"""Ids of batches begin with a digit, so that none of them, nor the beginning of one, can be a name."""
_PARAMETERS = {"width": "size", "height": "size", "lora": "loras"}
"""Of bindings that a field of another name sets."""
_TABLES = ("csv", "jsonl", "xlsx")
_WORDS = ("sheet", "model", "sampler", "scheduler", "template", "profile", "stem")


def field_named(name: str) -> str:
    """A field of `BatchSpec`, or the one that sets a binding, for messages."""
    return named(_PARAMETERS.get(name, name))


@dataclass(frozen=True, kw_only=True)
class BatchSpec:
    """All that may be said; None and empty mean that nothing was. Files are paths, or `-` for standard input."""

    prompt: str | None = None
    prompt_file: str | None = None
    """A file that is one prompt."""
    prompts_file: str | None = None
    """A prompt a line."""
    csv: str | None = None
    jsonl: str | None = None
    xlsx: str | None = None
    """An Excel workbook."""
    sheet: str | None = None
    """Of that workbook; without it, the first one."""
    ignore_columns: bool = False
    """Leave out the columns of a list that nothing takes."""
    from_file: str | None = None
    """A sidecar or a picture, to be made again."""
    from_batch: str | None = None
    """A batch of the same state, or `.` for all items of the state, whose outputs are what this one is made from."""
    pick: str | Mapping[str, frozenset[int]] | None = None
    """Which of them: `all` (the default), `favorites`, or a file that names items and images, one a line; or which
    outputs, from 1, of which items, by their keys."""
    negative: str | None = None
    count: int = 1
    """Variations of each prompt."""
    seed: int | None = None
    """Of each prompt's first variation; -1 as None: drawn."""
    seed_mode: SeedMode = "increment"
    model: str | None = None
    loras: tuple[str, ...] = ()
    """Each NAME or NAME:STRENGTH."""
    steps: int | None = None
    cfg: float | None = None
    sampler: str | None = None
    scheduler: str | None = None
    size: tuple[int, int] | None = None
    """Width and height in pixels."""
    batch_size: int | Literal["auto"] | None = None
    """Pictures that the server makes of one prompt it is sent."""
    template: str | None = None
    profile: str | None = None
    priority: Priority = "normal"
    dynamic: bool = False
    """Expand prompts and negative prompts: see `dynamic_syntax`."""
    wildcards: tuple[str, ...] = ()
    """Folders."""
    combinatorial: int | None = None
    """Every combination of each prompt, or the first so many if over 0; None: what its seed draws."""
    literal: bool = False
    """Send texts that look like dynamic prompts as they are."""
    sets: Mapping[str, Any] = field(default_factory=dict)
    """Name or address -> value, for every item."""
    sweeps: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    """Name, address or text (`prompt:fox`, `{animal}`) -> values; all of them are crossed."""
    layout: Layout = "numbered"
    stem: str | None = None
    name: str | None = None
    """What the batch is called; its id is found by this too."""
    on_error: OnError = "stop"
    notify: tuple[str, ...] = ()
    """Addresses that are told how the batch ended."""

    @property
    def source(self) -> str:
        """The field that says where the prompts come from. Errors: UsageError for none, and for several."""
        said = [name for name in SOURCES if getattr(self, name) is not None]
        if said == ["prompt", "from_batch"]:
            return "from_batch"
        if len(said) != 1:
            among = f"{' and '.join(map(named, said))} are given" if said else "none given"
            raise UsageError(f"choose one source of prompts, {', '.join(map(named, SOURCES))}; {among}")
        return said[0]

    @property
    def cells(self) -> int:
        """Combinations of the sweeps' values."""
        return math.prod(map(len, self.sweeps.values()))

    def flagged(self) -> dict[str, Any]:
        """What the flags set in every item, by binding. Not the seed, and no batch size that is still `auto`."""
        width, height = self.size or (None, None)
        said = {
            "negative": self.negative,
            "model": self.model,
            "lora": self.loras[0] if len(self.loras) == 1 else list(self.loras) or None,
            "steps": self.steps,
            "cfg": self.cfg,
            "sampler": self.sampler,
            "scheduler": self.scheduler,
            "width": width,
            "height": height,
            "batch_size": None if self.batch_size == "auto" else self.batch_size,
        }
        return {name: value for name, value in said.items() if value is not None}

    def inputs(self) -> dict[str, Any]:
        """What every item has in common: flags and settings, by binding or address. Not the seed."""
        settings = (part for name, value in self.sets.items() for part in parted(name, value).items())
        return self.flagged() | dict(settings)

    def checked(self) -> Self:
        """Itself, with a seed of -1 as none. Errors: UsageError that names the field."""
        if self.seed == RANDOM_SEED:
            return replace(self, seed=None).checked()
        if self.source == "prompt" and not clean(self.prompt, named("prompt")).strip():
            raise UsageError(f"{named('prompt')}: the text is empty; write one")
        for check in (
            _check_choices,
            _check_name,
            _check_count,
            _check_values,
            _check_seeds,
            _check_sweeps,
            _check_told_once,
            _check_dynamic,
            _check_pick,
        ):
            check(self)
        if self.stem is not None:
            refuse_unsafe(self.stem, layout=self.layout, place=named("stem"))
        for url in self.notify:
            _check_url(url)
        return self

    def settled(self, vocabulary: Vocabulary) -> Self:
        """This by the names of one template, checked. Errors: UsageError for what nothing in the template takes."""
        for name in (*self.flagged(), *(["seed"] if self.seed is not None else [])):
            with located(field_named(name), UsageError):
                vocabulary.meaning(name)
        sets = _renamed("sets", self.sets, vocabulary.meaning)
        sweeps = _renamed("sweeps", self.sweeps, lambda key: axis_meaning(key, vocabulary))
        return replace(
            self,
            sets={name: _fitted(name, value, named("sets", key=name)) for name, value in sets.items()},
            sweeps={name: tuple(_fitted_axis(name, value) for value in values) for name, values in sweeps.items()},
        ).checked()


def _check_choices(spec: BatchSpec) -> None:
    for name, known in (("seed_mode", SeedMode), ("priority", Priority), ("layout", Layout), ("on_error", OnError)):
        if getattr(spec, name) not in get_args(known):
            raise UsageError(f"{field_named(name)}: {getattr(spec, name)!r} is not one of {', '.join(get_args(known))}")
    for name in (*SOURCES[1:], *_WORDS):
        if (said := getattr(spec, name)) is not None and not said.strip():
            raise UsageError(f"{field_named(name)}: the name is empty; write one, or leave it out")
    if spec.sheet is not None and spec.source != "xlsx":
        raise UsageError(f"{named('sheet', spec.sheet)}: give {named('xlsx', 'FILE')} too, whose sheet it is")
    if spec.ignore_columns and spec.source not in _TABLES:
        raise UsageError(
            f"{named('ignore_columns', True)}: only {', '.join(map(named, _TABLES))} have columns; leave it out"
        )


def _check_name(spec: BatchSpec) -> None:
    if spec.name is not None and not _NAME.fullmatch(spec.name):
        raise UsageError(
            f"{named('name')} {spec.name!r}: a batch's name has up to 64 letters, digits, - _ and ., and begins with a "
            "letter"
        )


def _check_count(spec: BatchSpec) -> None:
    if not 1 <= spec.count <= LARGEST_COUNT:
        raise UsageError(f"{named('count', spec.count)}: a prompt has from 1 to {LARGEST_COUNT} variations")


def _check_values(spec: BatchSpec) -> None:
    if spec.size is not None:
        _fitted("size", "x".join(map(str, spec.size)), named("size"))
    for name, value in spec.flagged().items():
        _fitted(name, value, field_named(name))
    for said, value in spec.sets.items():
        _fitted(spelled(said), value, named("sets", key=said))


def _check_seeds(spec: BatchSpec) -> None:
    swept = "seed" in map(spelled, spec.sweeps)
    if "seed" in map(spelled, spec.sets):
        raise UsageError(f"{named('sets', key='seed')}: use {named('seed')}")
    if swept and (spec.count > 1 or spec.seed_mode == "random"):
        raise UsageError(
            f"{named('sweeps', key='seed')} sets every seed itself; leave out {named('count')} and "
            f"{named('seed_mode', 'random')}"
        )
    if spec.seed is None:
        return
    if spec.seed_mode == "random":
        raise UsageError(f"{named('seed_mode', 'random')} draws every seed; leave {named('seed')} out")
    _fitted("seed", spec.seed, named("seed"))
    with located(named("seed"), UsageError):
        last_seed(spec.seed, spec)


def _check_sweeps(spec: BatchSpec) -> None:
    for said, values in spec.sweeps.items():
        fitting = [_fitted_axis(said, value) for value in values]
        if not fitting:
            raise UsageError(f"{named('sweeps', key=said)}: it has no values; write them with commas between")
        for number, value in enumerate(fitting):
            if value in fitting[:number]:
                raise UsageError(f"{named('sweeps', key=said)}: {value!r} is there twice; take one out")


def _check_told_once(spec: BatchSpec) -> None:
    told = {name: field_named(name) for name in spec.flagged()}
    if spec.seed is not None:
        told["seed"] = named("seed")
    for field_name, said in (("sets", spec.sets), ("sweeps", spec.sweeps)):
        for name in said:
            for part in parts_of(spelled_axis(name) if field_name == "sweeps" else spelled(name)):
                here = named(field_name, key=name)
                other = told.setdefault(part, here)
                if other != here:
                    raise UsageError(f"{other} and {here} both set {part}; leave one out")


def _check_pick(spec: BatchSpec) -> None:
    if spec.from_batch is None and spec.pick is not None:
        raise UsageError(f"{named('pick')}: give {named('from_batch', 'BATCH')} too, the batch to pick from")
    if spec.pick is not None and not (spec.pick.strip() if isinstance(spec.pick, str) else spec.pick):
        raise UsageError(f"{named('pick')}: say all, favorites, or the name of a file")


def _check_dynamic(spec: BatchSpec) -> None:
    if spec.dynamic:
        if spec.literal:
            raise UsageError(f"choose one: {named('dynamic')} or {named('literal')}")
        if spec.source == "from_file":
            raise UsageError(
                f"{named('from_file')} makes an image again, of the text that was chosen for it; "
                f"leave {named('dynamic')} out"
            )
        if spec.combinatorial is not None and spec.combinatorial < 0:
            raise UsageError(f"{named('combinatorial', spec.combinatorial)}: take 1 combination or more")
        if not all(name.strip() for name in spec.wildcards):
            raise UsageError(f"{named('wildcards')}: the path is empty; name a folder, or leave it out")
        if spec.combinatorial is not None and "negative" in map(spelled, spec.sweeps):
            raise UsageError(f"{named('combinatorial')} and {named('sweeps', key='negative')}: leave one out")
        if spec.combinatorial is not None and (key := next(filter(text_axis, spec.sweeps), None)) is not None:
            raise UsageError(
                f"{named('combinatorial')} and {named('sweeps', key=key)}: leave one out, or write the values as "
                "{a|b} into the text"
            )
        return
    for name, is_given in (("wildcards", spec.wildcards), ("combinatorial", spec.combinatorial is not None)):
        if is_given:
            raise UsageError(f"{named(name)}: give {named('dynamic', True)} too, which expands prompts")


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and not re.search(r"[\s\x00-\x1f]", url)
    except ValueError:
        fits = False
    if not fits:
        # It may hold a key, so it is not repeated.
        raise UsageError(f"{named('notify')}: write an address such as https://example.org/hook")


def without_requested(inputs: Mapping[str, Any], spec: BatchSpec) -> dict[str, Any]:
    """What is recorded of an image, by binding, but for what the request itself says."""
    said = spec.inputs().keys() | {part for name in spec.sweeps for part in parts_of(name)}
    if spec.seed is not None or spec.seed_mode == "random":
        said |= {"seed"}
    return {name: value for name, value in inputs.items() if name not in said}


def last_seed(base: int, spec: BatchSpec) -> int:
    """The seed of a prompt's last variation, whose first one has `base`. Errors: UsageError when it is too large."""
    last = base + (spec.count - 1 if spec.seed_mode == "increment" else 0)
    if last > LARGEST_SEED:
        raise UsageError(f"{base}, and one more for each of {spec.count} variations, ends over {LARGEST_SEED}")
    return last


def _renamed(field_name: str, said: Mapping[str, Any], meaning_of: Callable[[str], str]) -> dict[str, Any]:
    renamed: dict[str, Any] = {}
    for name, value in said.items():
        with located(named(field_name, key=name), UsageError):
            meaning = meaning_of(name)
        if meaning in renamed:
            raise UsageError(f"{named(field_name, key=name)}: {meaning} is given twice; give it once")
        renamed[meaning] = value
    return renamed


def _fitted_axis(key: str, value: object) -> Any:
    with located(named("sweeps", key=key), UsageError):
        return fitted_axis(key, value)


def _fitted(name: str, value: object, place: str) -> Any:
    with located(place, UsageError):
        return fitted(name, value)
