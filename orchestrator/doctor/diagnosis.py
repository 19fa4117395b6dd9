"""What a look at one thing found: a verdict, a sentence, and what to type next."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from orchestrator.settings import DEFAULT_STATE

Verdict = Literal["ok", "warning", "problem"]


@dataclass(frozen=True)
class Check:
    """One line of `burst doctor`. A `problem` keeps a burst from working; a `warning` is worth knowing."""

    name: str
    verdict: Verdict
    message: str
    next: str | None = None
    """What to type; every problem has one."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """The same for machines."""

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "verdict": self.verdict,
            "message": self.message,
            "next": self.next,
            "facts": dict(self.facts),
        }

    def as_lines(self, *, width: int) -> list[str]:
        """The verdict, the name in a column of `width`, the sentence; what to type below it."""
        lines = [f"{self.verdict:<8} {self.name:<{width}}  {self.message}"]
        return lines + ([f"{'':<8} {'':<{width}}  → {self.next}"] if self.next else [])


def command(words: str, state: Path, *arguments: str) -> str:
    """A `burst` command line for this state, ready to be typed."""
    named = [] if state == Path(DEFAULT_STATE) else ["--state", str(state)]
    return " ".join(["burst", words, *(shlex.quote(argument) for argument in [*arguments, *named])])


def count_of(checks: Sequence[Check], verdict: Verdict) -> int:
    return sum(check.verdict == verdict for check in checks)
