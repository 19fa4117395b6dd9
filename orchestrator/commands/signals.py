"""Work that ends within a second of a signal."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import sys
import threading
from typing import TYPE_CHECKING, Any

from orchestrator.commands.common import print_json_error
from orchestrator.errors import EXIT_SIGHUP, EXIT_SIGINT, EXIT_SIGTERM, BurstError

if TYPE_CHECKING:
    from orchestrator.cycle.run import Run
    from orchestrator.generation import Generation

log = logging.getLogger("burst")
_STANDARD_INPUT = 0
_REST_SECONDS = 0.5
_ABANDON_SECONDS = 0.3
_OVER = b"\0"
"""What wakes the main thread when the work has ended; a signal writes its number."""


class Signals:
    """Lets a run or a generation work in a thread, and ends this process within a second of a signal.

    SIGTERM, SIGINT and SIGHUP end it, whatever is in flight; a SIGHUP that is ignored, as under `nohup`, stays so.
    """

    def __init__(self, *, as_json: bool, stop_on_eof: bool = False) -> None:
        """`stop_on_eof`: the end of standard input counts as SIGTERM."""
        self.exit_code: int | None = None
        """What the process returns, because of a signal; None while none came."""
        self._as_json = as_json
        self._stop_on_eof = stop_on_eof

    def run(self, work: Run | Generation) -> Any:
        """Its outcome. Errors: those of the work; SystemExit after a signal.

        The work is told to stop and given a moment to come to rest. If it does not (it waits for a server or a disk),
        its last append is let end, its temporary files are removed, and the process leaves without joining the thread.
        """
        from orchestrator.burst_endings import TEXTS
        from state.operating_system import HANG_UP

        exit_codes: dict[int, int] = {signal.SIGTERM: EXIT_SIGTERM, signal.SIGINT: EXIT_SIGINT}
        if HANG_UP is not None:
            exit_codes[HANG_UP] = EXIT_SIGHUP

        # The kernel may give a signal to any thread. Python runs handlers in the main thread alone, which a lock or a
        # queue that it waits for lets sleep on: so it waits for what the signal itself writes.
        reader, writer = socket.socketpair()
        writer.setblocking(False)
        outcome: list[Any] = []

        def execute() -> None:
            try:
                outcome.append(work.execute())
            except BaseException as error:  # noqa: BLE001 — raised again below, in the main thread
                outcome.append(error)
            finally:
                writer.send(_OVER)

        signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        for number in exit_codes:
            if number != HANG_UP or signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, lambda number, frame: None)
        if self._stop_on_eof:
            threading.Thread(target=_wait_for_end_of_input, name="input", daemon=True).start()
        thread = threading.Thread(target=execute, name="burst", daemon=True)
        thread.start()
        woken_by = reader.recv(1)[0]
        if woken_by in exit_codes:
            self.exit_code = exit_codes[woken_by]
            work.request_stop(signal.Signals(woken_by).name)
        thread.join(timeout=_REST_SECONDS if self.exit_code is not None else None)
        if thread.is_alive():
            work.abandon(timeout_seconds=_ABANDON_SECONDS)
            self._say(f"{TEXTS['stopped']}; the next burst picks up what is out")
            sys.stdout.flush()
            os._exit(self.exit_code or EXIT_SIGTERM)
        signal.set_wakeup_fd(-1)
        reader.close()
        writer.close()
        if self.exit_code is not None and isinstance(outcome[0], BurstError):
            self._say(f"{TEXTS['stopped']}: {outcome[0]}")
            sys.exit(self.exit_code)
        if isinstance(outcome[0], BaseException):
            raise outcome[0]
        return outcome[0]

    def _say(self, message: str) -> None:
        if self._as_json:
            print_json_error("Stopped", message, self.exit_code or EXIT_SIGTERM)
        log.warning(message)


def _wait_for_end_of_input() -> None:
    """Whoever holds the other end of the pipe has ended, however that came about."""
    with contextlib.suppress(OSError):  # closed from the start
        while os.read(_STANDARD_INPUT, 4096):
            pass
    os.kill(os.getpid(), signal.SIGTERM)
