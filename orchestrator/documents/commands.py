"""What `burst commands`, `burst schema` and `burst skill` print: the command line about itself."""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict


class OptionDocument(TypedDict):
    """An option of a command; every command has `-h` and `--help` too."""

    names: list[str]
    """As they are typed: any of them does."""
    type: str
    """`flag` (takes no value), `text`, `integer`, `float`, `choice`, `path` and the like."""
    help: str
    value: NotRequired[str]
    """What its value looks like, where its type does not say all."""
    value_optional: NotRequired[Literal[True]]
    """It may stand without a value."""
    choices: NotRequired[list[str]]
    """Its only values."""
    default: NotRequired[Any]
    """What is used without it; absent: nothing, or what the help text says."""
    required: NotRequired[Literal[True]]
    repeatable: NotRequired[Literal[True]]
    """It may be given more than once."""
    environment: NotRequired[list[str]]
    """Variables that are read where it is not given."""
    hidden: NotRequired[Literal[True]]
    """`--help` leaves it out: a former name, which still works."""


class ArgumentDocument(TypedDict):
    """An argument of a command, by its place."""

    name: str
    required: NotRequired[Literal[True]]
    repeatable: NotRequired[Literal[True]]
    """There may be several."""


class ExitCodeDocument(TypedDict):
    """What a process returns."""

    code: int
    meaning: str


class CommandDocument(TypedDict):
    """A command."""

    command: str
    """The words that call it, such as `burst batches list`."""
    heading: str
    """Where `burst --help` lists it."""
    summary: str
    """In one line."""
    help: str
    """In full."""
    hidden: NotRequired[Literal[True]]
    """`burst --help` leaves it out: a former name, which still works."""
    arguments: list[ArgumentDocument]
    """In their order."""
    options: list[OptionDocument]
    """In the order of `--help`."""
    exit_codes: list[ExitCodeDocument]
    """Those that it has besides those of every command, or that mean something of their own here."""
    schemas: list[str]
    """What it prints with `--json`, for `burst schema`; an error is always `burst.error/1`."""


class CommandErrorKindDocument(TypedDict):
    """A kind of error of a command."""

    kind: str
    """As in `burst.error/1`."""
    exit_code: int
    meaning: str


class ItemErrorKindDocument(TypedDict):
    """A kind of error of an item."""

    kind: str
    """As in the lists of failed items."""
    meaning: str


class ApiErrorKindDocument(TypedDict):
    """A kind of error of the browser's API that no command has."""

    kind: str
    """As in an answer's `error.kind`."""
    status: int
    """Of the answer."""
    meaning: str


class CommandsDocument(TypedDict):
    """Every command with its options, exit codes and schemas."""

    schema: Literal["burst.commands/1"]
    version: str
    """Of burst; empty where it is not installed."""
    commands: list[CommandDocument]
    exit_codes: list[ExitCodeDocument]
    """What every command may return."""
    error_kinds: NotRequired[list[CommandErrorKindDocument]]
    """Kinds of errors that end a command; absent where commands were named."""
    item_error_kinds: NotRequired[list[ItemErrorKindDocument]]
    """Kinds of errors that fail an item; absent where commands were named."""
    api_error_kinds: NotRequired[list[ApiErrorKindDocument]]
    """Kinds of errors that the browser's API has besides those of a command; absent where commands were named."""


class SchemaEntryDocument(TypedDict):
    """A schema that `burst schema NAME` prints."""

    name: str
    source: str
    """What prints or writes it."""


class SchemasDocument(TypedDict):
    """Every schema."""

    schema: Literal["burst.schemas/1"]
    schemas: list[SchemaEntryDocument]
