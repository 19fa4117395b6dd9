"""Money: what servers that cost some may be sent, so many prompts in 24 hours, counted in the store."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from datetime import datetime, timedelta

from orchestrator.comfyui.terms import Terms
from orchestrator.errors import BurstError, SpendLimitReached, SpendNotAllowed
from orchestrator.formatting import counted
from orchestrator.log_lines import local_time
from orchestrator.servers import Server
from orchestrator.wording import named
from state.facts import FactLog, Facts, Spend

_DAY = timedelta(hours=24)
_SUGGESTED = 100


class Spending:
    """Of one run and one server. One that costs nothing is not counted."""

    def __init__(
        self, facts: FactLog, server: Server, terms: Terms, *, most: int | None, now: Callable[[], datetime]
    ) -> None:
        """`most`: for all servers together; None: nobody has allowed any. `now`: by the store's clock."""
        self._facts = facts
        self._server = server
        self._is_paid = terms.is_paid
        self._most = most
        self._now = now
        self._stamp: Hashable = object()
        self._read = Facts()

    @property
    def left(self) -> int | None:
        """How many more prompts the server may get now; None: any number."""
        if not self._is_paid:
            return None
        return max(0, (self._most or 0) - self._known().spent(since=self._now() - _DAY))

    def take(self) -> bool:
        """Note one prompt that is about to be sent, durably; False where it may not be."""
        if not self._is_paid:
            return True
        at = self._now()
        return self._facts.spend(self._spend(1, at), most=self._most or 0, since=at - _DAY)

    def give_back(self) -> None:
        """The prompt that was noted last was certainly not queued."""
        if self._is_paid:
            self._facts.append(self._spend(-1, self._now()))

    def why_none(self) -> BurstError | None:
        """Why the server may get nothing now; None where it may."""
        if self.left != 0:
            return None
        if not self._most:
            return SpendNotAllowed(
                f"{self._server.shown} costs money, and nothing is sent to it until that is allowed: "
                f"{named('allow_spend', _SUGGESTED)} allows {_SUGGESTED} prompts in 24 hours, as `allow_spend = "
                f"{_SUGGESTED}` in settings.toml does for every run; what was sent before is collected"
            )
        return SpendLimitReached(
            f"{self._server.shown} costs money, and the {counted(self._most, 'prompt')} allowed in 24 h are used up; "
            f"continues at {local_time(self._again())}, or with a larger {named('allow_spend')}"
        )

    def _again(self) -> datetime:
        """When the first of them is a day old."""
        since = self._now() - _DAY
        return min((one.at for one in self._known().spends if one.at > since), default=since) + _DAY

    def _known(self) -> Facts:
        if (stamp := self._facts.stamp()) != self._stamp:
            self._stamp, self._read = stamp, self._facts.read()
        return self._read

    def _spend(self, prompts: int, at: datetime) -> Spend:
        return Spend(server=self._server.name, prompts=prompts, at=at)
