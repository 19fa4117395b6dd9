"""Who is notified and what was told of a state: changed by one process at a time, read by any."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

import msgspec
import pytest
from support.state_scenes import NOON
from support.stores import State

from state.notices import Claim, CommandRun, Delivery, Notice, Notices, Occurrence, Over, Receiver
from state.processes import Process, this_process
from state.store import Store

ELSEWHERE = Process(host="another", boot_id="b", pid=7, process="1")


def receiver(name: str = "r1", **fields: object) -> Receiver:
    return msgspec.structs.replace(Receiver(id=name, url="https://example.org/hook", at=NOON), **fields)


def test_lines_are_seen_by_every_other_process(state: State, store: Store, other: Store) -> None:
    assert not other.has_notices()
    assert (other.notices.read(), other.notices.stamp()) == (Notices(), None)
    event = Occurrence(event="e1", kind="job.stuck", about="stuck", at=NOON, text="It is stuck", data={"runs": 3})
    told = Delivery(event="e1", to="r1", at=NOON, problem="refused")
    ran = CommandRun(event="e2", batch="b", name="train", host="h", started_at=NOON, at=NOON, final=True)
    store.notices.change(lambda known, now: [receiver(), event, told, ran])
    for view in (state.parts(), other, state.open(read_only=True)):
        assert view.has_notices()
        known = view.notices.read()
        assert known.receivers == {"r1": receiver()}
        assert known.occurrences == {"e1": event}
        assert known.lasting == {"stuck": event}
        assert known.deliveries == {("e1", "r1"): (told,)}
        assert known.commands == {"e2": (ran,)}


def test_what_is_over_lasts_no_more_and_happens_again(store: Store, other: Store) -> None:
    event = Occurrence(event="e1", kind="disk.full", about="disk", at=NOON, text="full")
    again = msgspec.structs.replace(event, event="e2")
    over = Over(about="disk", at=NOON, left=2)
    store.notices.change(lambda known, now: [event])
    other.notices.change(lambda known, now: [over])
    assert (store.notices.read().lasting, store.notices.read().overs) == ({}, {"disk": over})
    other.notices.change(lambda known, now: [again])
    assert (store.notices.read().lasting, store.notices.read().overs) == ({"disk": again}, {})
    assert list(store.notices.read().occurrences) == ["e1", "e2"]


def test_a_removed_receiver_is_gone_and_a_changed_one_is_there_once(store: Store, other: Store) -> None:
    store.notices.change(lambda known, now: [receiver("r1"), receiver("r2")])
    before = other.notices.stamp()
    other.notices.change(lambda known, now: [receiver("r2", on=("disk",)), receiver("r1", removed=True)])
    assert store.notices.read().receivers == {"r2": receiver("r2", on=("disk",))}
    assert store.notices.stamp() != before


def test_an_edit_sees_what_others_have_written_and_may_write_nothing(store: Store, other: Store) -> None:
    """Two processes claim the same: the second one finds it claimed."""

    def claim(by: Process) -> Iterable[Notice]:
        def edit(known: Notices, now: datetime) -> Iterable[Notice]:
            if not known.is_claimed("x", now, against=by):
                yield Claim(what="x", by=by, until=now + timedelta(seconds=60))

        return (other if by == ELSEWHERE else store).notices.change(edit)

    assert len(list(claim(ELSEWHERE))) == 1
    stamp = store.notices.stamp()
    assert claim(this_process()) == ()
    assert store.notices.stamp() == stamp
    assert store.notices.read().claims["x"].by == ELSEWHERE


@pytest.mark.parametrize(
    ("by", "seconds", "holds"),
    [
        (lambda: ELSEWHERE, 59, True),
        (lambda: ELSEWHERE, 60, False),
        (this_process, 0, False),
        (lambda: msgspec.structs.replace(this_process(), process="an earlier one"), 0, False),
    ],
    ids=["elsewhere", "lapsed", "our own", "a dead one here"],
)
def test_a_claim_holds_until_its_time_or_its_process_is_over(
    by: Callable[[], Process], seconds: int, holds: bool
) -> None:
    claim = Claim(what="x", by=by(), until=NOON + timedelta(seconds=60))
    assert claim.holds(NOON + timedelta(seconds=seconds), against=this_process()) is holds


def test_the_time_of_a_claim_is_that_of_the_state(state: State, store: Store) -> None:
    seen: list[datetime] = []
    store.notices.change(lambda known, now: seen.append(now) or ())  # type: ignore[func-returns-value]
    assert seen[0].tzinfo is not None
    assert store.notices.stamp() is None, "nothing was written"
