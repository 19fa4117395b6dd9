"""One graph of the list, and what is right for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

BASE = {
    "prompt": "pos.text",
    "negative": "neg.text",
    "seed": "sampler.seed",
    "steps": "sampler.steps",
    "cfg": "sampler.cfg",
    "sampler": "sampler.sampler_name",
    "scheduler": "sampler.scheduler",
    "denoise": "sampler.denoise",
    "model": "ckpt.ckpt_name",
    "width": "latent.width",
    "height": "latent.height",
    "batch_size": "latent.batch_size",
    "prefix": "save.filename_prefix",
}
"""What is right for `text_to_image`."""
NO_SIZE: dict[str, str | None] = {"width": None, "height": None, "batch_size": None}


@dataclass(frozen=True)
class Case:
    """A graph with the addresses that each name must set."""

    graph: dict[str, dict[str, Any]]
    right: dict[str, str]
    candidates: dict[str, str] = field(default_factory=dict)
    """Names that are not certain, with all that they may be meant to set."""
    by_names: dict[str, str | None] = field(default_factory=dict)
    """What differs without a server's node classes; None: not bound."""


def like_base(
    graph: dict[str, dict[str, Any]],
    right: Mapping[str, str | None] = {},
    *,
    candidates: Mapping[str, str] = {},
    by_names: Mapping[str, str | None] = {},
    **named: str | None,
) -> Case:
    """A case whose bindings are those of `text_to_image`, but for these; None: not bound."""
    changed = {name: spelled for name, spelled in (BASE | dict(right) | named).items() if spelled is not None}
    return Case(graph, changed, dict(candidates), dict(by_names))


def only(
    graph: dict[str, dict[str, Any]],
    *,
    candidates: Mapping[str, str] = {},
    by_names: Mapping[str, str | None] = {},
    **right: str,
) -> Case:
    """A case with these bindings alone."""
    return Case(graph, right, dict(candidates), dict(by_names))
