"""Profiles: settings with a name, and notes on models; shipped ones, and the user's own in a file beside the state.

```yaml
profiles:
  mine: {description: for sprites, batch_size: 4, steps: 20, cfg: 8.0, sampler: euler, scheduler: karras}
models:
  "my_model*": {memory_gib: {1: 8, 4: 14}}
```
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import msgspec

import templates
from orchestrator.batches.batch_sizes import ModelNote
from orchestrator.batches.spec import SeedMode
from orchestrator.batches.suggestions import advice
from orchestrator.batches.values import fitted
from orchestrator.batches.yaml_file import Part, is_endless, read_yaml
from orchestrator.errors import UsageError
from orchestrator.wording import named

FILE_NAME = "profiles.yaml"
_SHIPPED = Path(templates.__file__).parent / FILE_NAME
_INPUTS = ("batch_size", "steps", "cfg", "sampler", "scheduler")
_Scalar = str | int | float
_Gib = Annotated[float, msgspec.Meta(gt=0, le=sys.float_info.max)]


@dataclass(frozen=True, kw_only=True)
class Profile:
    """What a profile sets; None is left to the template."""

    name: str
    source: Path
    """The file that it is from."""
    description: str = ""
    batch_size: int | Literal["auto"] | None = None
    steps: int | None = None
    cfg: float | None = None
    sampler: str | None = None
    scheduler: str | None = None
    seed_mode: SeedMode | None = None

    def inputs(self) -> dict[str, Any]:
        """What it sets in every item, by binding; no batch size that is still `auto`."""
        said = {name: getattr(self, name) for name in _INPUTS}
        return {name: value for name, value in said.items() if value not in (None, "auto")}


def load_profiles(home: Path) -> dict[str, Profile]:
    """The shipped profiles and those of `profiles.yaml` in `home`, the state's directory, which win; by name.

    Errors: UsageError that names file, line, profile and field.
    """
    return {name: profile for path in (_SHIPPED, home / FILE_NAME) for name, profile in _profiles(path)}


def load_model_notes(home: Path) -> list[ModelNote]:
    """The notes of `profiles.yaml` in `home`, then the shipped ones. Errors: as `load_profiles`."""
    return [note for path in (home / FILE_NAME, _SHIPPED) for note in _notes(path)]


def profile_named(name: str, profiles: Mapping[str, Profile]) -> Profile:
    """Errors: UsageError, with near matches."""
    if name not in profiles:
        message = f"{named('profile', name)}: there is no such profile; {advice(name, profiles)}"
        raise UsageError(message, parameter="profile")
    return profiles[name]


class _File(msgspec.Struct, forbid_unknown_fields=True):
    profiles: Any = None
    models: Any = None


class _ProfileFields(msgspec.Struct, forbid_unknown_fields=True):
    description: str | None = None
    batch_size: _Scalar | None = None
    steps: _Scalar | None = None
    cfg: _Scalar | None = None
    sampler: _Scalar | None = None
    scheduler: _Scalar | None = None
    seed_mode: str | None = None


class _NoteFields(msgspec.Struct, forbid_unknown_fields=True):
    description: str | None = None
    memory_gib: Any = None


def _profiles(path: Path) -> Iterator[tuple[str, Profile]]:
    for name, part in _named(path, "profiles"):
        given = msgspec.structs.asdict(part.read_as(_ProfileFields))
        fields = {key: _field(key, part.at(key, value)) for key, value in given.items() if value is not None}
        yield name, Profile(name=name, source=path, **fields)


def _notes(path: Path) -> Iterator[ModelNote]:
    for pattern, part in _named(path, "models"):
        sizes = part.at("memory_gib", part.read_as(_NoteFields).memory_gib).entries()
        memory = {
            _fitted("batch_size", size, gib): gib.read_as(_Gib, expected="a number over 0") for size, gib in sizes
        }
        if not memory:
            raise part.error("memory_gib is missing, such as memory_gib: {1: 8, 4: 14}")
        yield ModelNote(pattern, memory)


def _named(path: Path, heading: Literal["profiles", "models"]) -> Iterator[tuple[str, Part]]:
    whole = read_yaml(path)
    if whole is None:
        return
    for name, part in whole.at(heading, getattr(whole.read_as(_File), heading)).entries():
        if not isinstance(name, str) or not name.strip():
            raise part.error('a name is text; write it in quotes, "…"')
        yield name, part


def _field(key: str, part: Part) -> Any:
    if key == "description" or (key == "batch_size" and part.value == "auto"):
        return part.value
    if key == "seed_mode":
        if part.value not in get_args(SeedMode):
            raise part.error(f"there is no such seed mode; {advice(part.value, get_args(SeedMode))}")
        return part.value
    return _fitted(key, part.value, part)


def _fitted(name: str, value: object, part: Part) -> Any:
    if is_endless(value):
        raise part.error("expected a number of fewer digits")
    try:
        return fitted(name, value)
    except UsageError as error:
        raise part.error(str(error)) from error
