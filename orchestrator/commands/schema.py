"""`burst schema`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from orchestrator.commands.common import json_option, print_json

if TYPE_CHECKING:
    from orchestrator.documents.commands import SchemasDocument


@click.command(short_help="Print the JSON Schema of an output or of a stored file.")
@click.argument("name", required=False)
@json_option
def schema(name: str | None, as_json: bool) -> None:
    """Print the JSON Schema (2020-12) of one document, or list all documents.

    NAME is as in the document's `schema`, or short: `status`, `report`, `error`; `state` and `recipe` are what a state
    keeps.
    """
    from orchestrator.documents.json_schema import json_schema
    from orchestrator.documents.registry import ALL, schema_named

    if name is not None:
        _print(json_schema(schema_named(name).name), as_json=as_json)
        return
    schemas = ALL.values()
    if as_json:
        document: SchemasDocument = {
            "schema": "burst.schemas/1",
            "schemas": [{"name": one.name, "source": one.source} for one in schemas],
        }
        print_json(document)
        return
    width = max(len(one.name) for one in schemas)
    for one in schemas:
        click.echo(f"{one.name.ljust(width)}  {one.source}")


def _print(document: dict[str, object], *, as_json: bool) -> None:
    """On one line where a program reads it."""
    if as_json:
        print_json(document)
        return
    import json

    click.echo(json.dumps(document, indent=2))
