"""Workflows that need no model."""

from __future__ import annotations

import random
from typing import Any

Graph = dict[str, Any]


def new_seeds(count: int) -> list[dict[str, Any]]:
    """Inputs for this many items, with seeds that no server has cached."""
    first = random.randrange(1 << 40)
    return [{"seed": first + number} for number in range(count)]


def node(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}


def noise(*, size: int = 64, batch: int = 1) -> Graph:
    """Nodes 1 and 2: an image that depends on the seed, so that only the canvas comes from the cache."""
    return {
        "1": node("EmptyImage", width=size, height=size, batch_size=batch, color=8421504),
        "2": node("ImageAddNoise", image=["1", 0], seed=0, strength=0.5),
    }


def quick(*, size: int = 64, batch: int = 1) -> Graph:
    """One image after a few hundredths of a second."""
    return noise(size=size, batch=batch) | {"9": node("SaveImage", images=["2", 0], filename_prefix="p")}


def slow(*, blurs: int = 4, size: int = 512, radius: int = 15) -> Graph:
    """A chain of blurs, about 0.25 s each on a small CPU; a server can be interrupted between two of them."""
    graph = noise(size=size)
    for number in range(blurs):
        source = str(99 + number) if number else "2"
        graph[str(100 + number)] = node("ImageBlur", image=[source, 0], blur_radius=radius, sigma=3.0)
    last = str(99 + blurs) if blurs else "2"
    return graph | {"9": node("SaveImage", images=[last, 0], filename_prefix="p")}


def text() -> Graph:
    """Nodes 4 and 5: a prompt text, searched for a pattern and shown; the pattern `(` makes it raise while it runs."""
    return {
        "4": node(
            "RegexReplace",
            string="a red house",
            regex_pattern="red",
            replace="blue",
            case_insensitive=True,
            multiline=False,
            dotall=False,
            count=0,
        ),
        "5": node("PreviewAny", source=["4", 0]),
    }


def searching() -> Graph:
    """An image and a search with a pattern that differs per item."""
    return quick() | text()
