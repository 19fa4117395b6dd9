"""Control the clock of a page, and record when it makes requests."""

from __future__ import annotations

from typing import Any

from support.waiting import wait_until

_STEP_MILLISECONDS = 100
_WATCHED = """
(() => {
  const fetched = window.fetch;
  window.asked = [];
  window.inFlight = 0;
  window.fetch = async (...said) => {
    if (!String(said[0]).endsWith("/progress")) return fetched(...said);
    window.asked.push(Date.now());
    window.inFlight += 1;
    try {
      const answer = await fetched(...said);
      const text = await answer.text();
      answer.text = async () => text;
      return answer;
    } finally {
      window.inFlight -= 1;
    }
  };
})();
"""


class Clockwork:
    """Controls the clock of a page; create it before the page is loaded."""

    def __init__(self, page: Any) -> None:
        self._page = page
        page.add_init_script(_WATCHED)
        page.clock.install(time=0)

    def open(self, url: str) -> None:
        """Open the page and stop the time after the first request of progress."""
        self._page.goto(url)
        wait_until(self.asked, what="the first question")
        # A step longer than the page's timeout would abort a pending request.
        self._page.clock.pause_at(self._page.evaluate("Date.now()") / 1000 + 5)
        self.settle()

    def asked(self) -> list[int]:
        """Times of the requests of progress, in milliseconds."""
        found: list[int] = self._page.evaluate("window.asked")
        return found

    def settle(self) -> None:
        """Wait until every request is answered and the page has processed the response."""
        wait_until(lambda: self._page.evaluate("window.inFlight") == 0, what="the answers")

    def advance(self, milliseconds: int) -> None:
        """Let time pass; responses take no time."""
        for _ in range(milliseconds // _STEP_MILLISECONDS):
            self._page.clock.run_for(_STEP_MILLISECONDS)
            self.settle()
