"""HTML pages that need nothing from elsewhere: figures of outputs, and the templates that show them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2

_templates = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def render(template: str, **values: Any) -> str:
    """A page, in which every value is escaped."""
    return _templates.get_template(template).render(values)
