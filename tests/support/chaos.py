"""Random faults for one server: its network, process and disk, and its other users."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable

from support.proxy import Proxy, http_answer
from support.sandbox_client import empty_image
from support.server_process import ServerProcess

LONGEST_HOLD_SECONDS = 1.0
"""A request may not be held for longer than a burst waits for a lost one."""
PAGE = b"<html><body>Bad gateway</body></html>"
HTML = {"Content_Type": "text/html"}
JSON = {"Content_Type": "application/json"}
POST, HISTORY, VIEW, QUEUE = "POST /api/prompt", "GET /api/history", "GET /api/view", "GET /api/queue"


class Chaos:
    """Causes one fault after another on a server, in its own thread, until `end`."""

    def __init__(self, server: ServerProcess, draw: random.Random) -> None:
        self.server = server
        self.befell: Counter[str] = Counter()
        self._draw = draw
        self._ended = threading.Event()
        self._failure: BaseException | None = None
        self._faults: dict[str, Callable[[], None]] = {
            "prompts that fail": lambda: self._change(fail_next=self._few()),
            "out of memory": lambda: self._change(out_of_memory_next=self._few()),
            "reset before queueing, by the server": lambda: self._change(drop_before_queue_next=self._few()),
            "reset after queueing, by the server": lambda: self._change(drop_after_queue_next=self._few()),
            "downloads cut short": lambda: self._change(truncate_next=self._few()),
            "503 to everything": lambda: self._change(unavailable_next=self._few()),
            "slow answers": self._slow,
            "history of 5": self._short_history,
            "history cleared by somebody": lambda: server.ask("/history", clear=True),
            "queue cleared by somebody": lambda: server.ask("/queue", clear=True),
            "interrupted by somebody": lambda: server.ask("/interrupt"),
            "queue flooded by somebody": self._flood,
            "restarted": lambda: self._restart(cut=False),
            "restarted, leaving half a file": lambda: self._restart(cut=True),
            "killed": lambda: self._kill(keep_outputs=True),
            "killed, outputs lost": lambda: self._kill(keep_outputs=False),
            "stalled, then killed": self._stall,
        }
        if server.proxy is not None:
            self._faults |= self._of_the_network(server.proxy)
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        """Stop, with the server restored. Raises what went wrong in the thread."""
        self._ended.set()
        self._thread.join()
        if self._failure is not None:
            raise self._failure
        self.server.kill()
        self.server.start()

    def _run(self) -> None:
        try:
            while not self._pause(2.0):
                name = self._draw.choice(list(self._faults))
                self._faults[name]()
                self.befell[name] += 1
        except BaseException as error:  # noqa: BLE001 — raised again by `end`
            self._failure = error

    def _pause(self, longest_seconds: float) -> bool:
        """Wait for a randomly chosen time, or until `end`; returns whether `end` was called."""
        return self._ended.wait(self._draw.uniform(0.05, longest_seconds))

    def _few(self) -> int:
        return self._draw.randint(1, 4)

    # The server itself

    def _change(self, **settings: object) -> None:
        self.server.tell("settings", **settings)

    def _slow(self) -> None:
        self._change(answer_delay_seconds=0.2)
        self._pause(2.0)
        self._change(answer_delay_seconds=0.0)

    def _short_history(self) -> None:
        self._change(history_limit=5)
        self._pause(4.0)
        self._change(history_limit=10_000)

    def _flood(self) -> None:
        for _ in range(10):
            graph = empty_image(color=self._draw.randrange(1 << 24), prefix="theirs/x")
            self.server.ask("/prompt", prompt=graph)

    def _restart(self, *, cut: bool) -> None:
        down_seconds = self._draw.uniform(0.0, 1.0)
        self.server.tell("restart", keep_outputs=True, leave_cut_file=cut, down_seconds=down_seconds)

    def _kill(self, *, keep_outputs: bool) -> None:
        self.server.kill(keep_outputs=keep_outputs)
        self._pause(1.5)
        self.server.start()

    def _stall(self) -> None:
        self.server.tell("stall")
        self._pause(2.0)
        self._kill(keep_outputs=True)

    # The network in front of it

    def _of_the_network(self, proxy: Proxy) -> dict[str, Callable[[], None]]:
        def answered(request: str, answer: bytes, *, reaches_server: bool = False) -> None:
            proxy.answer(request, answer, reaches_server=reaches_server, times=self._few())
            healed()

        def healed() -> None:
            self._pause(1.5)
            proxy.heal()

        def reset(request: str) -> None:
            proxy.reset(request, times=self._few())
            healed()

        def reset_answers(request: str, *, after_bytes: int) -> None:
            proxy.reset_answers(request, after_bytes=after_bytes, times=self._few())
            healed()

        def failing() -> None:
            request = self._draw.choice([POST, HISTORY, VIEW, QUEUE])
            status = self._draw.choice([500, 502, 503, 504])
            answered(request, http_answer(status, PAGE, **HTML), reaches_server=self._draw.random() < 0.5)

        def held(hold: Callable[..., None]) -> None:
            hold(self._draw.choice([POST, HISTORY, VIEW]), times=self._few())
            self._pause(LONGEST_HOLD_SECONDS)
            proxy.release()

        anything = [POST, HISTORY, VIEW, QUEUE]
        return {
            "reset before the POST": lambda: reset(POST),
            "reset after queueing, before the answer": lambda: reset_answers(POST, after_bytes=0),
            "reset in the middle of a download": lambda: reset_answers(VIEW, after_bytes=self._draw.randint(0, 4000)),
            "reset while looking": lambda: reset(self._draw.choice([HISTORY, QUEUE])),
            "5xx": failing,
            "429 with Retry-After": lambda: answered(POST, http_answer(429, Retry_After="1")),
            "HTML for JSON": lambda: answered(self._draw.choice(anything), http_answer(200, PAGE, **HTML)),
            "cut JSON": lambda: answered(self._draw.choice([HISTORY, QUEUE]), http_answer(200, b'{"a": [1, 2', **JSON)),
            "redirected elsewhere": lambda: answered(
                self._draw.choice([HISTORY, VIEW]), http_answer(302, Location="http://127.0.0.1:1/")
            ),
            "requests held back": lambda: held(proxy.hold),
            "answers held back": lambda: held(proxy.hold_answers),
            "every connection broken": proxy.drop,
        }
