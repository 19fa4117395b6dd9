"""Which pages are made from the code, and how."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from orchestrator.documents.reference import reference
from tests.documents.reference import api_page, commands_page, errors_page, exit_codes_page

PLACE = Path(__file__).parents[3] / "docs" / "reference"
PAGES: Mapping[str, Callable[[], str]] = {
    "api.md": api_page.page,
    "commands.md": commands_page.page,
    "errors.md": errors_page.page,
    "exit-codes.md": exit_codes_page.page,
    "json.md": reference,
}
