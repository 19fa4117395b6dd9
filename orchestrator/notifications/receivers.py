"""Who is notified of what happens to a state: what `burst notify` changes."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from orchestrator.batches.notify import BatchesRead
from orchestrator.clock import Clock
from orchestrator.errors import UsageError, located
from orchestrator.formatting import counted, in_lines
from orchestrator.log_lines import local_time
from orchestrator.migration import open_for_writing
from orchestrator.notifications.apprise_service import refuse_unknown
from orchestrator.notifications.delivery import deliver
from orchestrator.notifications.letters import Address
from orchestrator.notifications.occurrences import baseline
from orchestrator.notifications.post import ReceiverPost, trial_event
from orchestrator.notifications.shown_address import shown_address
from orchestrator.notifications.signing import new_secret
from orchestrator.wording import named
from state.notices import EVENT_NAMES, Delivery, Notice, Notices, Receiver
from state.open_store import open_store

if TYPE_CHECKING:
    from orchestrator.documents.notifications import NotifyDocument, ReceiverDocument

Action = Literal["list", "add", "remove", "test"]
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


@dataclass(frozen=True)
class ListedReceiver:
    """One receiver, without its secrets."""

    receiver: Receiver
    last: Delivery | None = None
    """The last try to tell it anything."""

    def as_json(self) -> ReceiverDocument:
        one, last = self.receiver, self.last
        return {
            "id": one.id,
            "address": shown_address(one.url),
            "on": list(one.on),
            "runs": one.runs,
            "signed": one.secret is not None or one.secret_env is not None,
            "secret_env": one.secret_env,
            "added_at": one.at.isoformat(),
            "last_tried_at": last.at.isoformat() if last is not None else None,
            "last_problem": last.problem if last is not None else None,
        }

    def line(self) -> str:
        """For a person."""
        one, last = self.receiver, self.last
        stuck = f" (after {counted(one.runs, 'run')})" if "stuck" in one.on else ""
        said = f"{one.id}  {shown_address(one.url)}: {', '.join(one.on)}{stuck}"
        if last is None:
            return f"{said}; nothing was sent yet"
        return f"{said}; {local_time(last.at)}: {'delivered' if last.delivered else last.problem}"


@dataclass(frozen=True)
class NotifyReport:
    """What `burst notify` did, and the receivers after it."""

    action: Action
    receivers: tuple[ListedReceiver, ...]
    lines: tuple[str, ...] = ()
    secret: str | None = None
    """The key of a new receiver's signatures: shown this once."""
    problems: tuple[str, ...] = ()
    """Receivers that a test did not reach."""

    @property
    def exit_code(self) -> int:
        return 1 if self.problems else 0

    def as_json(self) -> NotifyDocument:
        return {
            "schema": "burst.notify/1",
            "action": self.action,
            "receivers": [one.as_json() for one in self.receivers],
            "secret": self.secret,
            "problems": list(self.problems),
            "notes": list(self.lines),
            "exit_code": self.exit_code,
        }

    def as_text(self) -> str:
        if self.action != "list":
            return in_lines((*self.lines, *self.problems))
        if not self.receivers:
            return "Nobody is notified; `burst notify add URL` adds a receiver"
        return in_lines(one.line() for one in self.receivers)


def add_receiver(
    state: Path,
    url: str,
    *,
    on: Sequence[str] = EVENT_NAMES,
    runs: int = 3,
    secret_env: str | None = None,
    clock: Clock | None = None,
) -> NotifyReport:
    """Have a receiver told of what happens to this state from now on, by whichever host sees it.

    Calls of a webhook are signed with a new key, which is in the report and is shown nowhere else; `secret_env` names
    an environment variable that has the key on each host instead. `runs`: after how many runs in a row that got nowhere
    it is told. The same address again changes what it is told of, and keeps its key. Errors: UsageError, StateError,
    DiskFull.
    """
    _check(url, on, secret_env)
    address = Address(url)
    with open_for_writing(state, clock=clock) as store:
        made: list[Receiver] = []

        def edit(known: Notices, now: datetime) -> Iterable[Notice]:
            before = next((one for one in known.receivers.values() if one.url == url), None)
            keeps = before is not None and secret_env is None
            secret = before.secret if keeps and before is not None else None
            if secret is None and secret_env is None and address.is_webhook:
                secret = new_secret()
            receiver = Receiver(
                id=before.id if before is not None else secrets.token_hex(4),
                url=url,
                at=before.at if before is not None and set(on) <= set(before.on) else now,
                on=tuple(name for name in EVENT_NAMES if name in on),
                runs=runs,
                secret=secret,
                secret_env=secret_env,
            )
            made[:] = [receiver] if before is None or before.secret != secret else []
            return [*baseline(store, known, receiver.on, now), receiver]

        *_, written = store.notices.change(edit)
        assert isinstance(written, Receiver)
        secret = written.secret if made else None
        lines = [f"{written.id} ({shown_address(url)}) is notified of: {', '.join(written.on)}"]
        lines += [f"Signing secret, shown this once: {secret}"] if secret is not None else []
        return NotifyReport("add", _listed(store.notices.read()), tuple(lines), secret)


def list_receivers(state: Path) -> NotifyReport:
    """Reads alone. Errors: StateError."""
    with open_store(state, read_only=True) as store:
        return NotifyReport("list", _listed(store.notices.read() if store.has_notices() else Notices()))


def remove_receivers(state: Path, names: Sequence[str], *, clock: Clock | None = None) -> NotifyReport:
    """Tell them nothing more, also of what was not told yet. `names`: ids or addresses.

    Errors: UsageError, StateError, DiskFull; none is removed then.
    """
    with open_for_writing(state, clock=clock) as store:

        def edit(known: Notices, now: datetime) -> Iterable[Notice]:
            # Without its address and key: the line that said them stays, but no reader holds them any more.
            found = [_named(known, name) for name in dict.fromkeys(names)]
            return [Receiver(id=one.id, url="", at=now, removed=True) for one in found]

        gone = store.notices.change(edit)
        lines = tuple(f"{one.id} is no longer notified" for one in gone if isinstance(one, Receiver))
        return NotifyReport("remove", _listed(store.notices.read()), lines)


def check_receivers(state: Path, names: Sequence[str] = (), *, clock: Clock | None = None) -> NotifyReport:
    """Tell receivers (all, or those named) a test event now. Changes nothing. Errors: UsageError, StateError."""
    clock = clock or Clock()
    with open_store(state, read_only=True) as store:
        known = store.notices.read() if store.has_notices() else Notices()
        chosen = [_named(known, name) for name in dict.fromkeys(names)] or list(known.receivers.values())
        if not chosen:
            raise UsageError("nobody is notified; `burst notify add URL` adds a receiver")
        post, event, lines, problems = ReceiverPost(store, BatchesRead(store)), trial_event(clock.now()), [], []
        for one in chosen:
            problem = deliver(post.letter_of(event, one, known), at=clock.now())
            where = f"{one.id} ({shown_address(one.url)})"
            if problem is None:
                lines.append(f"{where} was notified")
            else:
                problems.append(f"{where} was not notified: {problem}")
        return NotifyReport("test", _listed(known), tuple(lines), problems=tuple(problems))


def _check(url: str, on: Sequence[str], secret_env: str | None) -> None:
    """Errors: UsageError, which does not repeat the address: it may hold a key."""
    if not on:
        raise UsageError(f"{named('on')}: name at least one of {', '.join(EVENT_NAMES)}")
    if unknown := [name for name in on if name not in EVENT_NAMES]:
        raise UsageError(f"{named('on')}: {unknown[0]!r} is not an event; there are {', '.join(EVENT_NAMES)}")
    if secret_env is not None and not _VARIABLE.match(secret_env):
        raise UsageError(f"{named('secret_env')}: name an environment variable, not the key itself")
    if not is_address(url):
        raise UsageError("URL: write an address such as https://example.org/hook, ntfy://TOPIC or discord://ID/TOKEN")
    if not Address(url).is_webhook:
        if secret_env is not None:
            raise UsageError(f"{named('secret_env')}: only webhooks (http:// and https://) are signed")
        with located("URL", UsageError):
            refuse_unknown(url)


def is_address(url: str) -> bool:
    """Whether it has a scheme and, for a webhook, a host."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    is_clean = not re.search(r"[\s\x00-\x1f]", url)
    return is_clean and "://" in url and (bool(parts.hostname) or parts.scheme not in ("http", "https", ""))


def _named(known: Notices, name: str) -> Receiver:
    """Errors: UsageError."""
    found = next((one for one in known.receivers.values() if name in (one.id, one.url)), None)
    if found is None:
        there = ", ".join(known.receivers) or "none"
        shown = name if "://" not in name else shown_address(name)
        raise UsageError(f"{shown}: no receiver of this id or address; there are: {there}")
    return found


def _listed(known: Notices) -> tuple[ListedReceiver, ...]:
    last: dict[str, Delivery] = {}
    for (_, to), tries in known.deliveries.items():
        if to not in last or tries[-1].at >= last[to].at:
            last[to] = tries[-1]
    return tuple(ListedReceiver(one, last.get(one.id)) for one in known.receivers.values())
