"""Keeping a lane's server supplied: what it takes of the shared work, and sends."""

from __future__ import annotations

from orchestrator.collecting import Collecting
from orchestrator.errors import ItemError, TemplateRejected
from orchestrator.outstanding import Outstanding
from orchestrator.rhythm import Rhythm
from orchestrator.submission import Submission
from orchestrator.suiting import Suiting
from orchestrator.uploading import Equipped, Uploading
from orchestrator.work import Taker
from orchestrator.workbench import Workbench
from state.item import Item


class Filling:
    """Sends a lane's next items. `suiting`: what its server takes; None where it is the only one."""

    def __init__(
        self,
        bench: Workbench,
        outstanding: Outstanding,
        collecting: Collecting,
        uploading: Uploading,
        rhythm: Rhythm,
        *,
        suiting: Suiting | None,
    ) -> None:
        self._bench = bench
        self._outstanding = outstanding
        self._collecting = collecting
        self._uploading = uploading
        self._rhythm = rhythm
        self._suiting = suiting
        self._submission = Submission(bench, forget_uploads=uploading.forget)

    def seconds_paused(self) -> float:
        """How much longer nothing is sent, because the server said that it takes no more."""
        return self._submission.seconds_paused()

    def fill(self, lane: Taker) -> bool:
        """Send as many more as the lane may have out; whether there were any. Errors: those of `Submission.submit`.

        Items with pictures of their own are sent once the server has those, by a later call.
        """
        if self.seconds_paused() > 0:
            return True
        due = self._bench.work.take(lane)
        if self._suiting is not None and self._suiting.learn():
            due += self._bench.work.take(lane)
        through: list[str] = []
        try:
            plain = self._one_alone([item for item in due if not self._is_out_already(item)])
            equipped, through = self._uploading.settle()
            for item in plain:
                if item.uploads:
                    self._uploading.start(item)
                else:
                    equipped.append(Equipped(item, {}))
            if equipped and not self._outstanding:
                self._rhythm.began()
            for sent in self._submission.submit(equipped) if equipped else ():
                self._outstanding.take_in(sent, doubted_seconds=self._bench.options.in_doubt_seconds)
        except TemplateRejected as error:
            self._refused_by_server(error)
        finally:
            for key in (*through, *(item.key for item in due)):
                if key not in self._outstanding and key not in self._uploading:
                    self._bench.work.let_go(key)
        return bool(due or through)

    def _is_out_already(self, item: Item) -> bool:
        """Set to pending by hand while its prompt was out: looked up before it is sent again."""
        if not item.may_be_on_a_server:
            return False
        doubted = self._bench.change(item, lambda now: now.doubt())
        if doubted is not None and doubted.server == self._bench.client.url:
            self._outstanding.take_in(doubted, doubted_seconds=0.0 if item.accepted else None)
        return True

    def _refused_by_server(self, error: TemplateRejected) -> None:
        """Another server may take it. Errors: the same one, when there is none."""
        if self._suiting is None:
            raise error
        self._suiting.refuse(error.item_key)
        if self._bench.work.refused_everywhere(error.item_key):
            raise error
        self._bench.work.stir()

    def _one_alone(self, due: list[Item]) -> list[Item]:
        """A template that overwrites what it saves runs one prompt at a time, with nothing else out."""
        out = [*self._outstanding.items(), *self._collecting.items(), *self._uploading.items()]
        alone = next((at for at, item in enumerate(due) if self._is_alone(item)), None)
        if alone is None:
            return [] if any(self._is_alone(item) for item in out) else due
        if alone == 0:
            return [] if out else due[:1]
        return due[:alone]

    def _is_alone(self, item: Item) -> bool:
        try:
            why = self._bench.prompts.why_alone(item)
        except ItemError:
            return False
        if why is not None:
            self._bench.tally.note(why)
        return why is not None
