"""The same request made twice is one request: what makes two of them the same, and which batch answers the second."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.batches.spec import SOURCES, BatchSpec
from orchestrator.errors import RequestConflict
from orchestrator.wording import named
from state.batch import Batch, BatchRecord, Idempotency
from state.counts import Counts
from state.item import DUE, Item, Status
from state.stages import CANCELLED_SOURCE
from state.store import Store

_FIELDS = ("count", "seed", "seed_mode", "priority", "layout", "stem", "on_error")
"""Fields of a request that make it another one; those of an item's inputs are named as bindings."""
_LONGEST_SHOWN = 200
_DIGEST = "sha256:"
_SHOWN_DIFFERENCES = 5


def _part_of(field_name: str) -> str:
    """What a field of `BatchSpec` is called in a record, whoever made the request: as its flag on the command line."""
    return "--from" if field_name == "from_file" else f"--{field_name.replace('_', '-')}"


_SWEEP, _SWEEPS, _NOTIFY, _THEN, _DYNAMIC = "--sweep ", "--sweep", "--notify", "--then", "--dynamic"
_NAMES = {_part_of(name): name for name in (*SOURCES, *_FIELDS, "dynamic", "combinatorial")} | {
    _SWEEPS: "sweeps",
    _NOTIFY: "notify",
    _THEN: "then",
}
"""Field by the name of its part."""


@dataclass(frozen=True)
class RequestIdentity:
    """What one request is compared by. Equal parts mean: the same images, to the same places, with the same promises.

    `always_new`: another batch is wanted, whatever was requested before.
    """

    parts: Mapping[str, Any]
    name: str | None = None
    always_new: bool = False
    idempotency: Idempotency | None = None

    @property
    def digest(self) -> str:
        return digest_of(self.parts)

    def candidates(self, batches: Iterable[Batch]) -> list[Batch]:
        """Those that may answer this request, newest first: `standings_of` says how far each is."""
        return [batch for batch in reversed(list(batches)) if self._may_be(batch)]

    def answered_by(self, standings: Iterable[Standing]) -> Standing | None:
        """The batch that this request continues, or whose report is its answer; None where it makes another one.

        Errors: RequestConflict for a name or a key that another request has.
        """
        # Its items may have been removed; a burst of version 1 that was killed left records without any.
        there = [standing for standing in standings if standing.has_items]
        if self.idempotency is not None:
            return self._of_key(there)
        if self.name is not None:
            return self._of_name(there)
        return next((standing for standing in there if standing.continues), None)

    def _may_be(self, batch: Batch) -> bool:
        record = batch.record
        if self.idempotency is not None:
            return record.idempotency is not None and record.idempotency.key == self.idempotency.key
        if batch.gone:
            return False
        if self.name is not None:
            return record.name == self.name
        return not self.always_new and record.name is None and record.request == self.digest

    def _of_key(self, there: list[Standing]) -> Standing | None:
        for standing in there:
            found = standing.record.idempotency
            assert found is not None
            assert self.idempotency is not None
            if found.body != self.idempotency.body:
                raise RequestConflict(
                    f"Idempotency-Key {found.key!r}: batch {standing.record.batch} was started with it by another "
                    "request; send a new key with a new request"
                )
            return standing
        return None

    def _of_name(self, there: list[Standing]) -> Standing | None:
        for standing in there:
            what = f"{named('name', self.name)}: batch {standing.record.batch}"
            shown = f"`burst status {self.name}` shows it"
            if self.always_new:
                raise RequestConflict(f"{what} has this name; choose another one for another batch; {shown}")
            if standing.record.request != self.digest:
                differences = "; ".join(_differences(standing.record.request_parts, self.parts))
                raise RequestConflict(
                    f"{what} has this name and is another request ({differences}); choose another name; {shown}"
                )
            if standing.is_cancelled:
                raise RequestConflict(
                    f"{what} has this name and was cancelled; `burst retry --cancelled` makes its items due again, "
                    f"or choose another name; {shown}"
                )
            return standing
        return None


@dataclass
class Standing:
    """How far an earlier batch is, as it concerns a request that is made again."""

    batch: Batch
    due: list[str] = field(default_factory=list)
    """Keys of the items that are still to be done."""
    has_items: bool = False
    is_cancelled: bool = False
    """Whether any of its items is, or is about to be; those that had failed before do not count."""

    @property
    def record(self) -> BatchRecord:
        return self.batch.record

    @property
    def continues(self) -> bool:
        """Whether the same request is this batch: there is work left, or nobody has received its report."""
        return not self.is_cancelled and bool(self.due or self.batch.unanswered)


def request_parts(
    spec: BatchSpec,
    *,
    source: bytes,
    recipe: str,
    secret_env: str | None = None,
    then: str | None = None,
    wildcards: str | None = None,
    rows: str | None = None,
) -> dict[str, Any]:
    """A request by flags, as it was made: without a drawn seed, the time, or the directory it was made from.

    `spec` is checked, with its profile and by the template's names. `source`: what its source of prompts held.
    `rows`: a digest of what the cells of its list name. `wildcards`: one of those that its dynamic prompts name.
    `literal` makes no other images.
    """
    is_text = spec.source in ("prompt", "from_batch")
    text = source.decode(errors="replace").strip() if is_text else None
    parts = {
        _part_of("prompt"): spec.prompt,
        _part_of(spec.source): _digest(source) if text is None else text,
        "names": _names_of(spec),
        "recipe": recipe,
        "rows": rows,
        _part_of("sheet"): spec.sheet,
        **spec.inputs(),
        **{f"{_SWEEP}{name}": list(values) for name, values in spec.sweeps.items()},
        _SWEEPS: list(spec.sweeps) if len(spec.sweeps) > 1 else None,
        _NOTIFY: _digest(_canonical([list(spec.notify), secret_env])) if spec.notify else None,
        _THEN: then,
        _DYNAMIC: wildcards,
        _part_of("combinatorial"): spec.combinatorial,
        **({"batch_size": "auto"} if spec.batch_size == "auto" else {}),
    }
    for name in _FIELDS:
        parts[_part_of(name)] = getattr(spec, name)
    return {name: _shortened(value) for name, value in parts.items() if value is not None}


def names_seed(parts: Mapping[str, Any]) -> bool:
    """Whether a request with these parts named a seed, as far as they tell: those of old records are empty."""
    return not parts or _part_of("seed") in parts


def digest_of(parts: Mapping[str, Any]) -> str:
    """The same whatever the order of the parts."""
    return hashlib.sha256(_canonical(parts)).hexdigest()


def standings_of(store: Store, batches: Iterable[Batch]) -> list[Standing]:
    """How far these are, in their order: One that was cleaned away has ended."""
    found = []
    for batch in batches:
        counts = store.counts(batch=batch.id)
        due = [] if batch.gone else list(store.items(*DUE, batch=batch.id))
        found.append(
            Standing(
                batch,
                has_items=batch.gone or counts.total > 0,
                is_cancelled=not batch.gone and (_is_any_withdrawn(store, batch, counts) or _is_any_doomed(due)),
                due=[item.key for item in due],
            )
        )
    return found


def _is_any_doomed(due: Iterable[Item]) -> bool:
    return any(item.cancel_requested for item in due)


def _is_any_withdrawn(store: Store, batch: Batch, counts: Counts) -> bool:
    """A failed item that was given up does not make the request another one."""
    return counts.cancelled > 0 and any(map(_is_withdrawn, store.items(Status.CANCELLED, batch=batch.id)))


def _is_withdrawn(item: Item) -> bool:
    return item.error is None or item.error.kind == CANCELLED_SOURCE


def _names_of(spec: BatchSpec) -> list[str] | None:
    """What the images are called after a list's own name, where the layout does that."""
    path = getattr(spec, spec.source)
    if spec.layout != "mirror" or spec.source in ("prompt", "from_file", "from_batch") or path == "-":
        return None
    whole = Path(path).absolute()
    return [whole.parent.name, whole.stem] if spec.source == "prompt_file" else [whole.stem]


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """What was otherwise, in the order of the new request; the first few."""
    names = [name for name in dict.fromkeys([*new, *old]) if old.get(name) != new.get(name)]
    for name in names[:_SHOWN_DIFFERENCES]:
        shown = _shown(name)
        value = old.get(name)
        if value is None:
            yield f"without {shown} there"
        elif name == "recipe" or str(value).startswith(_DIGEST):
            yield f"{shown} differs"
        else:
            yield f"{shown} is {value!r} there"
    if len(names) > _SHOWN_DIFFERENCES:
        yield "…"


def _shown(part: str) -> str:
    """A part of a request, for messages."""
    if part == "recipe":
        *first, last = map(named, ("bindings", "outputs", "output_dir", "servers"))
        return f"workflow, {', '.join(first)} or {last}"
    if part == "rows":
        return "what cells of the list name"
    if part.startswith(_SWEEP):
        return named("sweeps", key=part.removeprefix(_SWEEP))
    return named(_NAMES[part]) if part in _NAMES else part


def _shortened(value: Any) -> Any:
    return value if len(_canonical(value)) <= _LONGEST_SHOWN else _digest(_canonical(value))


def _digest(data: bytes) -> str:
    return _DIGEST + hashlib.sha256(data).hexdigest()


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode("ascii")
