"""A proxy before the server that does something to chosen submissions, by their number."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from support.proxy import Proxy, http_answer

_SUBMISSIONS = (b"POST /prompt", b"POST /api/prompt")

Fault = Callable[[Proxy, str], None]


class FaultyProxy(Proxy):
    """`faults`: by the number of the submission, from 1 on; each meets that one request alone."""

    def __init__(self, url: str, faults: Mapping[int, Fault]) -> None:
        super().__init__(url)
        self._faults = dict(faults)
        self.submissions = 0

    def note(self, data: bytes) -> None:
        super().note(data)
        if data.startswith(_SUBMISSIONS):
            self.submissions += 1
            if fault := self._faults.pop(self.submissions, None):
                fault(self, data.decode("latin-1"))


def hold_the_answer(proxy: Proxy, request: str) -> None:
    """The server takes it; its answer waits for `release`."""
    proxy.hold_answers(request, times=1)


def refuse(proxy: Proxy, request: str) -> None:
    """500, as from a server that is overloaded; nothing is taken."""
    proxy.answer(request, http_answer(500, b"Internal Server Error", Content_Type="text/plain"), times=1)


def break_off(proxy: Proxy, request: str) -> None:
    """The connection is reset before the server has seen anything."""
    proxy.reset(request, times=1)


def lose_the_answer(proxy: Proxy, request: str) -> None:
    """The server takes it; the connection is reset in place of the answer."""
    proxy.reset_answers(request, times=1)
