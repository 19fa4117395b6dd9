"""Profiles: settings with a name, and notes on models; shipped ones, and the user's own in a file beside the state.

```yaml
profiles:
  mine: {description: for sprites, batch_size: 4, steps: 20, cfg: 8.0, sampler: euler, scheduler: karras}
models:
  "my_model*": {memory_gib: {1: 8, 4: 14}}
```
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import templates
from orchestrator.batches.batch_sizes import ModelNote
from orchestrator.batches.spec import SeedMode
from orchestrator.batches.suggestions import advice
from orchestrator.batches.values import fitted
from orchestrator.batches.yaml_file import Part, read_yaml
from orchestrator.errors import UsageError

FILE_NAME = "profiles.yaml"
_SHIPPED = Path(templates.__file__).parent / FILE_NAME
_INPUTS = ("batch_size", "steps", "cfg", "sampler", "scheduler")


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
        raise UsageError(f"--profile {name}: there is no such profile; {advice(name, profiles)}")
    return profiles[name]


def _profiles(path: Path) -> Iterator[tuple[str, Profile]]:
    for name, part in _named(path, "profiles"):
        fields = part.parts(("description", *_INPUTS, "seed_mode"))
        said = {key: _field(key, field) for key, field in fields if field.value is not None}
        yield name, Profile(name=name, source=path, **said)


def _notes(path: Path) -> Iterator[ModelNote]:
    for pattern, part in _named(path, "models"):
        fields = dict(part.parts(("description", "memory_gib")))
        if "description" in fields:
            fields["description"].words()
        sizes = fields["memory_gib"].parts() if "memory_gib" in fields else ()
        memory = {_fitted("batch_size", size, amount): amount.amount() for size, amount in sizes}
        if not memory:
            raise part.error("memory_gib is missing, such as memory_gib: {1: 8, 4: 14}")
        yield ModelNote(pattern, memory)


def _named(path: Path, wanted: str) -> Iterator[tuple[str, Part]]:
    whole = read_yaml(path)
    for key, part in whole.parts(("profiles", "models")) if whole else ():
        for name, named in part.parts() if key == wanted else ():
            if not isinstance(name, str) or not name.strip():
                raise named.error('a name is a text; write it in quotes, "…"')
            yield name, named


def _field(key: str, part: Part) -> Any:
    if key == "description":
        return part.words()
    if key == "seed_mode":
        mode = part.words()
        if mode not in get_args(SeedMode):
            raise part.error(f"there is no such seed mode; {advice(mode, get_args(SeedMode))}")
        return mode
    if key == "batch_size" and part.value == "auto":
        return "auto"
    return _fitted(key, part.single(), part)


def _fitted(name: str, value: object, part: Part) -> Any:
    try:
        return fitted(name, value)
    except UsageError as error:
        raise part.error(str(error)) from error
