"""From the figures to the tables of `docs/comparison.md`, which stand between two comments there."""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from tests.peers import ROOT
from tests.peers.catalogue import CLIENTS, Client
from tests.peers.job import ITEMS
from tests.peers.scenarios import SCENARIOS

PAGE = ROOT / "docs" / "comparison.md"
Outcomes = Sequence[Mapping[str, Any]]


def in_page(text: str, figures: Mapping[str, Any]) -> str:
    """The page with the tables of these figures between its comments. Errors: KeyError for a table of another name."""

    def made(found: re.Match[str]) -> str:
        return f"{found[1]}\n{TABLES[found[2]](figures)}\n{found[3]}"

    return re.sub(r"(<!-- table: (\w+) -->)\n.*?(<!-- end of table -->)", made, text, flags=re.DOTALL)


def write_page(figures: Mapping[str, Any]) -> None:
    PAGE.write_text(in_page(PAGE.read_text(), figures))


def outcomes_table(figures: Mapping[str, Any]) -> str:
    """Images on disk and renders that were one too many, a scenario a column."""
    return _by_scenario(figures, _kept)


def starts_table(figures: Mapping[str, Any]) -> str:
    """How often the script was started until the job was done, a scenario a column."""
    return _by_scenario(figures, _started)


def costs_table(figures: Mapping[str, Any]) -> str:
    """What the undisturbed job took, and which versions these are."""
    heads = ("client", "version", "of", "submits", "wall time", "CPU of the client", "peak memory of the client")
    return _markdown(heads, [_cost(client, figures) for client in _measured(figures)])


TABLES: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "outcomes": outcomes_table,
    "starts": starts_table,
    "costs": costs_table,
}


def _measured(figures: Mapping[str, Any]) -> list[Client]:
    return [client for client in CLIENTS if figures["clients"].get(client.name, {}).get("outcomes")]


def _by_scenario(figures: Mapping[str, Any], cell: Callable[[Outcomes], str]) -> str:
    heads = ["client", *(scenario.title for scenario in SCENARIOS.values())]
    return _markdown(heads, [_row(client, figures, cell) for client in _measured(figures)])


def _row(client: Client, figures: Mapping[str, Any], cell: Callable[[Outcomes], str]) -> list[str]:
    outcomes = figures["clients"][client.name]["outcomes"]
    return [client.name, *(cell(outcomes[name]) if name in outcomes else "—" for name in SCENARIOS)]


def _kept(rounds: Outcomes) -> str:
    """`60 / 3–5`, bold where all are there and none twice in every round."""
    on_disk = [one["counts"]["on_disk"] for one in rounds]
    twice = [one["counts"]["twice"] for one in rounds]
    text = f"{_range(on_disk)} / {_range(twice)}"
    return f"**{text}**" if min(on_disk) == ITEMS and max(twice) == 0 else text


def _started(rounds: Outcomes) -> str:
    text = _range([one["starts"] for one in rounds])
    if hung := max(one["hung"] for one in rounds):
        text += f", hung {hung}×"
    return text if all(one["finished"] for one in rounds) else f"{text}, not done"


def _cost(client: Client, figures: Mapping[str, Any]) -> list[str]:
    rounds: Outcomes = figures["clients"][client.name]["outcomes"].get("undisturbed", ())
    version = re.split(r"==|@(?=\d)", client.packages[0])[-1] if client.packages else ""
    if client.name.startswith("ComfyUI"):
        version = ""
    about = [client.name, version, client.released, client.submits]
    if not rounds:
        return [*about, "—", "—", "—"]
    middle = {key: statistics.median(one[key] for one in rounds) for key in ("seconds", "cpu_seconds", "peak_mib")}
    return [*about, f"{middle['seconds']:.1f} s", f"{middle['cpu_seconds']:.1f} s", f"{middle['peak_mib']:.0f} MiB"]


def _range(values: Sequence[int]) -> str:
    return str(min(values)) if min(values) == max(values) else f"{min(values)}–{max(values)}"


def _markdown(heads: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    heads = list(heads)
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
