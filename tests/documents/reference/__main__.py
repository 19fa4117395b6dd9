"""`python -m tests.documents.reference`."""

from __future__ import annotations

from tests.documents.reference.pages import PAGES, PLACE

for name, page in PAGES.items():
    (PLACE / name).write_text(page())
    print(PLACE / name)
