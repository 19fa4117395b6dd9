"""The result of one check: a verdict, a message, and the command to run next."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from orchestrator.settings import DEFAULT_STATE

if TYPE_CHECKING:
    from orchestrator.documents.states import CheckDocument

Verdict = Literal["ok", "warning", "problem"]


@dataclass(frozen=True)
class Check:
    """One line of `burst doctor`. A `problem` prevents bursts from working; a `warning` does not."""

    name: str
    verdict: Verdict
    message: str
    next: str | None = None
    """The command to run; set for every problem."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """The same in machine-readable form."""

    def as_json(self) -> CheckDocument:
        return {
            "name": self.name,
            "verdict": self.verdict,
            "message": self.message,
            "next": self.next,
            "facts": dict(self.facts),
        }

    def as_lines(self, *, width: int) -> list[str]:
        """The verdict, the name in a column of `width`, and the message; below it the command to run."""
        lines = [f"{self.verdict:<8} {self.name:<{width}}  {self.message}"]
        return lines + ([f"{'':<8} {'':<{width}}  → {self.next}"] if self.next else [])


def command(words: str, state: Path, *arguments: str) -> str:
    """A `burst` command line for this state, ready to run."""
    named = [] if state == Path(DEFAULT_STATE) else ["--state", str(state)]
    return " ".join(["burst", words, *(shlex.quote(argument) for argument in [*arguments, *named])])


def count_of(checks: Sequence[Check], verdict: Verdict) -> int:
    return sum(check.verdict == verdict for check in checks)
