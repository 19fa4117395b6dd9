"""Progress of a burst: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TextIO

import msgspec

from orchestrator.formatting import counted, first_of, one_line, spoken_seconds
from state.item import Item, Status

if TYPE_CHECKING:
    from state.live import Running

EVERY_SECONDS = 30.0
"""How often a line says what a long prompt is at."""


class RunningItem(msgspec.Struct, frozen=True):
    """An item that a server renders, as a display shows it."""

    item: Item
    running: Running
    seconds: float
    """How long it has been running."""


class Silent:
    """Prints nothing. A context manager, like all displays."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        pass

    def began(self, item: Item) -> None:
        pass

    def ended(self, item: Item, *, number: int, size: int) -> None:
        pass

    def running(self, items: Sequence[RunningItem], *, number: int, size: int) -> None:
        pass

    def waits(self, who: str) -> None:
        pass

    def comes_after(self, count: int, *, seconds: float | None) -> None:
        pass


class Lines(Silent):
    """`[3/15] EP01/prompt_3.txt → EP01/prompt_3.png (2.1 s)`, one line an item."""

    def __init__(self, write_line: Callable[[str], None]) -> None:
        self._write_line = write_line

        self._said: dict[str, float] = {}
        """By item: how long it had been running when that was last said."""

    def ended(self, item: Item, *, number: int, size: int) -> None:
        self._said.pop(item.key, None)
        self._write_line(f"[{number}/{size}] {line_of(item)}")

    def running(self, items: Sequence[RunningItem], *, number: int, size: int) -> None:
        for at, one in enumerate(items):
            if self.is_due(one):
                self._write_line(f"[{number + at}/{size}] {running_line(one)}")

    def is_due(self, one: RunningItem) -> bool:
        """Whether something should be said of it again; to be asked once."""
        said = self._said.get(one.item.key, 0.0)
        if one.seconds < said:
            said = 0.0  # it began again
        if one.seconds - said < EVERY_SECONDS:
            return False
        self._said[one.item.key] = one.seconds
        return True


class Generating(Silent):
    """`[3/15] Generating with seed 44...`, then its result; items of other batches are shown without a number."""

    def __init__(self, write_line: Callable[[str], None], *, batch: str, total: int) -> None:
        self._write_line = write_line
        self._batch, self._total = batch, total
        self._begun: set[str] = set()
        self._is_waiting = False
        self._lines = Lines(write_line)

    def began(self, item: Item) -> None:
        if item.batch == self._batch and item.key not in self._begun:
            self._begun.add(item.key)
            seed = f" with seed {item.inputs['seed']}" if "seed" in item.inputs else ""
            self._write_line(f"[{item.index}/{self._total}] Generating{seed}...")

    def running(self, items: Sequence[RunningItem], *, number: int, size: int) -> None:
        for one in items:
            if one.item.batch == self._batch and self._lines.is_due(one):
                self._write_line(f"  [{one.item.index}/{self._total}] {running_text(one)}")

    def ended(self, item: Item, *, number: int, size: int) -> None:
        if item.batch != self._batch:
            self._write_line(f"Also: {line_of(item)}")
            return
        if item.status is not Status.CANCELLED:
            self.began(item)
        # A completed item is named by its output path, any other by its number.
        which = "" if item.status is Status.COMPLETED else f"[{item.index}/{self._total}] "
        self._write_line(f"  {which}{one_line(_outcome(item))}")

    def waits(self, who: str) -> None:
        if not self._is_waiting:
            self._write_line(f"Waiting for another burst ({who}), which may also render this batch")
        self._is_waiting = True

    def comes_after(self, count: int, *, seconds: float | None) -> None:
        time = f", about {spoken_seconds(seconds)}" if seconds is not None else ""
        self._write_line(f"First the server finishes {counted(count)} submitted before{time}")


class Bar(Silent):
    """A progress bar below the lines of failed items."""

    def __init__(self, stream: TextIO) -> None:
        from tqdm import tqdm

        # Without a delay it first draws "0item [00:00, ?item/s]", since it learns the number of items later.
        self._bar: Any = tqdm(file=stream, unit="item", dynamic_ncols=True, leave=False, delay=1e-6)
        self._shown = ""

    def ended(self, item: Item, *, number: int, size: int) -> None:
        self._bar.total = size
        if item.status is not Status.COMPLETED:
            self._bar.write(line_of(item), file=sys.stderr)
        self._shown = ""
        self._bar.set_postfix_str(one_line(item.name), refresh=False)
        self._bar.update(number - self._bar.n)

    def running(self, items: Sequence[RunningItem], *, number: int, size: int) -> None:
        shown = "; ".join(map(running_line, items))
        if shown and shown != self._shown:
            self._bar.total = size
            self._bar.set_postfix_str(shown)
        self._shown = shown

    def close(self) -> None:
        if self._bar.total is not None:
            # What it draws again below a line does not count as drawn to itself.
            self._bar.clear()
        self._bar.close()


class Both(Silent):
    """Two displays of one run."""

    def __init__(self, first: Silent, second: Silent) -> None:
        self._displays = (first, second)

    def began(self, item: Item) -> None:
        for display in self._displays:
            display.began(item)

    def ended(self, item: Item, *, number: int, size: int) -> None:
        for display in self._displays:
            display.ended(item, number=number, size=size)

    def running(self, items: Sequence[RunningItem], *, number: int, size: int) -> None:
        for display in self._displays:
            display.running(items, number=number, size=size)

    def waits(self, who: str) -> None:
        for display in self._displays:
            display.waits(who)

    def comes_after(self, count: int, *, seconds: float | None) -> None:
        for display in self._displays:
            display.comes_after(count, seconds=seconds)

    def close(self) -> None:
        for display in self._displays:
            display.close()


def running_line(one: RunningItem) -> str:
    """`shot_07: KSampler 12/20, 41 s`."""
    return one_line(f"{one.item.name}: {running_text(one)}")


def running_text(one: RunningItem) -> str:
    """`KSampler 12/20, 41 s`."""
    return one_line(node_text(one.running, seconds=one.seconds))


def node_text(running: Running, *, seconds: float) -> str:
    """What a server does with an item: `KSampler 12/20, 41 s`, or the time alone where it does not say."""
    steps = f" {running.step}/{running.steps}" if running.steps and running.steps > 1 else ""
    node = f"{running.node}{steps}, " if running.node is not None else "on the server for "
    return f"{node}{int(seconds)} s" if seconds < 60 else f"{node}{spoken_seconds(seconds)}"


def line_of(item: Item) -> str:
    """One line about an item that ended."""
    return one_line(f"{item.key} {_outcome(item)}")


def _outcome(item: Item) -> str:
    match item.status:
        case Status.COMPLETED:
            where = first_of((output.path for output in item.outputs), 3)
            seconds = f" ({item.seconds:.1f} s)" if item.seconds is not None else ""
            return f"→ {where}{seconds}"
        case Status.FAILED:
            return f"failed: {item.error.message if item.error else 'no reason recorded'}"
        case _:
            return str(item.status)
