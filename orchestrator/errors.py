"""Every error of burst, by what the caller does next.

BurstError
├── TransientError            ask again: nothing is known yet, nothing is lost
│   ├── ServerUnreachable     refused, reset, `timed_out`, DNS, TLS; `may_have_arrived`: lost, or never sent
│   ├── ServerBusy            429 or 5xx; `retry_after_seconds` where the server said it
│   ├── KeyUsed               a request with this idempotency key came before; this one made no prompt
│   └── UnexpectedAnswer      not the shape ComfyUI documents: HTML, cut JSON, 404 of an endpoint, a redirect
│   │   └── NotOnServer       /view knows no such file: it was deleted or never written
│   └── NotComfyUI            another program answers: a web page, 404 for everything, no TLS; `url_to_try`
├── ItemError                 fail this item, go on with the others; `kind` is recorded
│   ├── PromptTextError       the prompt file is missing, empty or not UTF-8
│   ├── UploadError           a picture of the item's is missing, cut short, no picture, or refused by the server
│   ├── PromptRejected        POST /prompt answered 400 because of this item's own inputs
│   ├── ExecutionFailed       the history entry holds an execution_error
│   ├── OutputRefused         a name that leaves the output directory, or a file there that is not this item's
│   ├── NoOutputs             the prompt succeeded and saved nothing
│   └── OutputDamaged         what /view gave is cut short or does not decode
├── StopBurst                 end this burst; every item keeps its place
│   ├── LockHeld              another burst works on this state
│   ├── StateAway             the database of the state does not answer
│   ├── ServerDown            the server does not answer
│   ├── ServerStalled         the server answers but its running prompt does not change
│   ├── ServerSick            the server fails whatever it is given, also what it completed before
│   ├── SpendLimitReached     servers that cost money got as many prompts as they may in 24 hours
│   └── DiskFull              a write met ENOSPC, EDQUOT or a read-only file system
│       └── OutputRootUnusable    … under one output root: its items stay as they are, all others go on
│           └── OutputRootAway    … which is object storage that does not answer
├── ConfigurationError        a person must change something first
│   ├── UsageError            a flag or an argument
│   │   └── RequestConflict   a batch's name or an Idempotency-Key that stands for another request
│   ├── SettingsError         settings.toml or an environment variable
│   ├── SpendNotAllowed       nothing is sent to a server that costs money before a person allows it
│   ├── TemplateError         the workflow file, an address or a binding
│   └── StateError            the state file or its journal; says path and place
│       ├── NotAllowed        a database does not let this role do it
│       └── StateVersionError a format version that this burst does not know
├── RecipeUnusable            what items are made with cannot be read: they stay pending, nobody is charged
├── TemplateRejected          a server refuses the workflow itself: as above, unless another server takes it
├── PlaceTaken                another item's outputs have the place of these
├── StaleChange               the item's status is no longer what the change expected: read again
└── Crashed                   an exception that burst did not expect; every item keeps its place
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar

EXIT_DONE = 0
"""Done; work may remain (`status --check`: nothing is left)."""
EXIT_ITEMS_FAILED = 1
"""Some items failed (`status --check`: work remains)."""
EXIT_CONFIGURATION = 2
"""A person must change something first: usage, configuration, state file or disk."""
EXIT_NOTHING_LEFT_SOME_FAILED = 3
"""`status --check` alone: nothing is left, and some items failed."""
EXIT_CRASHED = 70
"""An unexpected error, which is a bug. Nothing is lost; the message names the file with the traceback, which
`BURST_TRACEBACK=1` shows (EX_SOFTWARE)."""
EXIT_TRY_LATER = 75
"""Not now: another burst is at work, or the server is unreachable or stalled. Try later (EX_TEMPFAIL)."""
EXIT_SIGHUP = 129
"""Stopped by SIGHUP, after checkpointing."""
EXIT_SIGINT = 130
"""Stopped by SIGINT (Ctrl-C), after checkpointing."""
EXIT_SIGTERM = 143
"""Stopped by SIGTERM, after checkpointing."""


class BurstError(Exception):
    """Root of every error that burst raises on purpose; its text is one message for a person."""

    exit_code: ClassVar[int] = EXIT_ITEMS_FAILED


class TransientError(BurstError):
    """Nothing is known yet: ask again later."""

    exit_code = EXIT_TRY_LATER

    @property
    def needs_a_person(self) -> bool:
        """Another address or a key is wanted: asking again as it is will not help."""
        return False


class ServerUnreachable(TransientError):
    """No answer came. `may_have_arrived` is False only when the request surely never left."""

    def __init__(self, message: str, *, may_have_arrived: bool, timed_out: bool = False) -> None:
        super().__init__(message)
        self.may_have_arrived = may_have_arrived
        self.timed_out = timed_out


class ServerBusy(TransientError):
    """The server answered 429 or 5xx."""

    def __init__(self, message: str, *, status: int, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_seconds = retry_after_seconds


class KeyUsed(TransientError):
    """The server has had a request with this idempotency key, and does not tell what became of it."""


class UnexpectedAnswer(TransientError):
    """An answer that is not of ComfyUI's shape; it says nothing about any prompt."""

    def __init__(self, message: str, *, status: int, passes: bool = False) -> None:
        """`passes`: a page that is shown for a while only, whatever its status says."""
        super().__init__(message)
        self.status = status
        self.passes = passes

    @property
    def needs_a_person(self) -> bool:
        return not self.passes and (self.status in (401, 402, 403) or 300 <= self.status < 400)


class NotOnServer(UnexpectedAnswer):
    """`/view` answered that there is no such file. Asking again will not help; rendering again will."""


class NotComfyUI(TransientError):
    """Another program than ComfyUI answers at `url`. `url_to_try`: what was probably meant.

    Raised by the first request to a server alone. A tunnel answers so too while the ComfyUI behind it starts.
    """

    exit_code = EXIT_CONFIGURATION

    def __init__(self, message: str, *, url: str, url_to_try: str | None, advice: str | None = None) -> None:
        """`advice`: what to do, where that is known better."""
        advice = advice or (f"try {url_to_try}" if url_to_try else "check that a ComfyUI is at this address")
        super().__init__(f"{message}; {advice}")
        self.url = url
        self.url_to_try = url_to_try

    @property
    def needs_a_person(self) -> bool:
        return True


class ItemError(BurstError):
    """This item cannot be finished; the others go on."""

    kind: ClassVar[str] = "item"

    def __init__(self, message: str, *, node_id: str | None = None) -> None:
        super().__init__(message)
        self.node_id = node_id


class PromptTextError(ItemError):
    """The prompt file is missing, empty, or not UTF-8."""

    kind = "prompt_text"


class UploadError(ItemError):
    """An image of the item is missing, cut short or not an image, or the server refuses it."""

    kind = "upload"


class PromptRejected(ItemError):
    """The server refused the prompt (400) because of this item's own inputs.

    `node_errors` is the server's, by node id.
    """

    kind = "rejected"

    def __init__(
        self,
        message: str,
        *,
        error_type: str = "",
        node_errors: dict[str, Any] | None = None,
        node_id: str | None = None,
    ) -> None:
        super().__init__(message, node_id=node_id)
        self.error_type = error_type
        self.node_errors = node_errors or {}

    def refused_inputs(self) -> set[tuple[str, str | None]]:
        """Node id and input name of each fault; None where the server names the node alone."""
        found: set[tuple[str, str | None]] = set()
        for node_id, fault in self.node_errors.items():
            errors = fault.get("errors") if isinstance(fault, dict) else None
            named = [
                info.get("input_name")
                for error in (errors if isinstance(errors, list) else ())
                if isinstance(error, dict) and isinstance(info := error.get("extra_info"), dict)
            ]
            found |= {(node_id, name if isinstance(name, str) else None) for name in named or [None]}
        return found


class ExecutionFailed(ItemError):
    """The prompt ran and a node raised an exception."""

    kind = "execution_error"

    def __init__(self, message: str, *, node_id: str | None, exception_type: str) -> None:
        super().__init__(message, node_id=node_id)
        self.exception_type = exception_type


class OutputRefused(ItemError):
    """The output's name leaves the output directory, or a file there is not this item's."""

    kind = "output_refused"


class NoOutputs(ItemError):
    """The prompt ended well and saved nothing that could be fetched."""

    kind = "no_outputs"


class OutputDamaged(ItemError):
    """A downloaded file is cut short or does not decode."""

    kind = "output_damaged"


class StopBurst(BurstError):
    """The burst ends here; every item keeps its place."""

    exit_code = EXIT_TRY_LATER


class LockHeld(StopBurst):
    """Another burst works on this state."""


class StateAway(StopBurst):
    """The database of the state does not answer; what it was about to change is as it was, or read again."""

    def __init__(self, reason: str, *, advice: str, was_connected: bool) -> None:
        """`was_connected`: a connection that had been made was lost, so that a new one may be answered."""
        super().__init__(f"{reason}; {advice}")
        self.reason = reason
        self.was_connected = was_connected


class ServerDown(StopBurst):
    """The server does not answer."""


class ServerStalled(StopBurst):
    """The server answers, but what it runs has not changed past the stall limit."""


class ServerSick(StopBurst):
    """The server fails everything, also what it could render before; no item is charged."""


class SpendLimitReached(StopBurst):
    """Servers that cost money got as many prompts as are allowed in 24 hours."""


class DiskFull(StopBurst):
    """A write met ENOSPC, EDQUOT, EROFS or a directory that refuses it."""

    exit_code = EXIT_CONFIGURATION


class OutputRootUnusable(DiskFull):
    """One output root cannot be written to; items that are saved elsewhere go on, and nobody is charged."""

    def __init__(self, root: object, reason: str) -> None:
        super().__init__(reason)
        self.root = root


class OutputRootAway(OutputRootUnusable):
    """Object storage does not answer, or is too busy to: the same request may be answered later."""

    exit_code = EXIT_TRY_LATER


class ConfigurationError(BurstError):
    """A person must change a flag, a setting or a file first."""

    exit_code = EXIT_CONFIGURATION


class UsageError(ConfigurationError):
    """A flag or an argument does not fit. `parameter`: the one whose value it is, where that is certain."""

    def __init__(self, message: str, *, parameter: str | None = None) -> None:
        super().__init__(message)
        self.parameter = parameter


class RequestConflict(UsageError):
    """The name of a batch, or an Idempotency-Key, already stands for another request."""


class SettingsError(ConfigurationError):
    """settings.toml or an environment variable does not fit."""


class SpendNotAllowed(ConfigurationError):
    """Nothing is sent to a server that costs money before a person allows it."""


class TemplateError(ConfigurationError):
    """A workflow file, an address or a binding does not fit."""


class StateError(ConfigurationError):
    """The state file or its journal cannot be read. Nothing was changed."""

    def __init__(self, path: Path | str, message: str) -> None:
        super().__init__(f"{path}: {message}")
        self.path = Path(path)


class StateMoved(StateError):
    """The state was moved to another address, where it goes on."""


class NotAllowed(StateError):
    """The database does not let this role do it: it may only read, or not change tables."""

    def __init__(self, where: str, reason: str, way_out: str) -> None:
        super().__init__(where, f"{reason}; {way_out}")
        self.reason = reason


class StateVersionError(StateError):
    """The state was written in a format version that this burst does not know."""


class RecipeUnusable(BurstError):
    """A recipe's own record or graph is gone, damaged or unknown; every item of it stays as it is."""

    exit_code = EXIT_CONFIGURATION

    def __init__(self, recipe_id: str, reason: str) -> None:
        super().__init__(f"recipe {recipe_id}: {reason}")
        self.recipe_id = recipe_id
        self.reason = reason


class TemplateRejected(BurstError):
    """A server refuses a workflow for what no single item is to blame for; every item of it stays as it is."""

    exit_code = EXIT_CONFIGURATION


class PlaceTaken(BurstError):
    """Other items have the places where the outputs of these would go; nothing of the change set was written."""

    exit_code = EXIT_CONFIGURATION

    def __init__(self, others: Mapping[str, str]) -> None:
        """By the key of the item that is refused: that of the one that has its place."""
        key, other = next(iter(others.items()))
        super().__init__(f"{key}: {self.said_of(other)}")
        self.others = dict(others)

    @staticmethod
    def said_of(other: str) -> str:
        return f"{other} is saved under the same name; give one of the two another filename or subfolder"


class StaleChange(BurstError):
    """At least one item's status is not the expected one; nothing of the change set was written."""

    def __init__(self, keys: list[str]) -> None:
        super().__init__(f"changed by another process meanwhile: {', '.join(keys[:5])}")
        self.keys = keys


class Crashed(BurstError):
    """An exception that burst did not expect; `reason` is its type, message and place, `traceback` all of it."""

    exit_code = EXIT_CRASHED

    def __init__(self, reason: str, *, traceback: str, kept_at: Path | None) -> None:
        where = f"Traceback: {kept_at}" if kept_at is not None else "BURST_TRACEBACK=1 shows the traceback"
        super().__init__(f"unexpected error: {reason}. Nothing is lost: every item keeps its place, run again. {where}")
        self.reason = reason
        self.traceback = traceback


class _Located:
    """A class, because type checkers know of its `__exit__` that it swallows nothing."""

    def __init__(
        self, place: object, caught: tuple[type[Exception], ...], into: Callable[[str], BurstError] | None, advice: str
    ) -> None:
        self._place = place
        self._caught = caught
        self._into = into
        self._advice = f"; {advice}" if advice else ""

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, self._caught):
            reason = (isinstance(error, OSError) and error.strerror) or error
            raise (self._into or type(error))(f"{self._place}: {reason}{self._advice}") from error


def located(
    place: object, *caught: type[Exception], into: Callable[[str], BurstError] | None = None, advice: str = ""
) -> _Located:
    """A context that puts the place before the message of what is raised in it, and the advice behind it.

    `PLACE: MESSAGE; ADVICE`. Only errors of the classes `caught` are raised again: as their own class, which must take
    a message alone, or as `into`. An OSError gives its reason without number and path.
    """
    return _Located(place, caught, into, advice)
