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
    """Use it on a page that shows nothing yet."""

    def __init__(self, page: Any) -> None:
        self._page = page
        page.add_init_script(_WATCHED)
        page.clock.install(time=0)

    def open(self, url: str) -> None:
        """Go there, and stop the time once progress was asked for."""
        self._page.goto(url)
        wait_until(self.asked, what="the first question")
        # A leap over the page's patience would be the end of a question that is on its way.
        self._page.clock.pause_at(self._page.evaluate("Date.now()") / 1000 + 5)
        self.settle()

    def asked(self) -> list[int]:
        """When progress was asked for, in milliseconds."""
        found: list[int] = self._page.evaluate("window.asked")
        return found

    def settle(self) -> None:
        """Until everything that was asked is answered. What the page does with an answer is done by then."""
        wait_until(lambda: self._page.evaluate("window.inFlight") == 0, what="the answers")

    def advance(self, milliseconds: int) -> None:
        """Let time pass, with no time for answers to take."""
        for _ in range(milliseconds // _STEP_MILLISECONDS):
            self._page.clock.run_for(_STEP_MILLISECONDS)
            self.settle()
