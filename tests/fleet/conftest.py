from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.fleet import Fleet, fleet


@pytest.fixture(name="fleet")
def _fleet() -> Iterator[Fleet]:
    with fleet() as made:
        yield made
