"""The example files of deploy/monitoring: Prometheus loads the rules, and every metric they name is exported."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from ruamel.yaml import YAML

from orchestrator.metrics.families import text_of_state

MONITORING = Path(__file__).parents[2] / "deploy/monitoring"
PAGE = (Path(__file__).parents[2] / "docs/metrics.md").read_text()
FOREIGN = {"node_textfile_mtime_seconds"}
"""Of the node exporter."""


def rules() -> list[dict[str, Any]]:
    (group,) = YAML(typ="safe").load((MONITORING / "alerts.yaml").read_text())["groups"]
    return list(group["rules"])


def expressions() -> list[str]:
    dashboard = json.loads((MONITORING / "grafana-dashboard.json").read_text())
    found = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    found += [one["query"]["query"] for one in dashboard["templating"]["list"] if one["type"] == "query"]
    return found + [rule["expr"] for rule in rules()]


@pytest.fixture
def exported(tmp_path: Path) -> set[str]:
    state = tmp_path / "state.json"
    state.write_text("{}")
    families = list(text_string_to_metric_families(text_of_state(state)))
    names = {sample.name for family in families for sample in family.samples}
    # Without a server it has no sample.
    return names | {f"{family.name}_total" for family in families if family.type == "counter"}


def named(expression: str) -> set[str]:
    return set(re.findall(r"\b(?:burst|node)_\w+", expression)) - {"burst_"}


def test_every_metric_that_they_name_is_exported(exported: set[str]) -> None:
    assert {name for one in expressions() for name in named(one)} - exported == FOREIGN


def test_labels_that_they_name_are_those_of_the_metrics() -> None:
    given = {label for one in expressions() for label in re.findall(r"[{,](\w+)=~?\"", one)}
    assert given == {"state", "status", "ending", "file"}


def test_every_metric_stands_in_the_documents_and_the_other_way_round(exported: set[str]) -> None:
    described = set(re.findall(r"^\| `(burst_\w+)`", PAGE, flags=re.MULTILINE))
    assert {re.sub("_(sum|count)$", "", name) for name in exported} == described


def test_each_rule_is_whole() -> None:
    found = rules()
    assert len({rule["alert"] for rule in found}) == len(found)
    for rule in found:
        assert rule["annotations"].keys() == {"summary", "description"}
        assert rule["labels"]["severity"] in ("info", "warning", "critical")


def test_panels_do_not_overlap_and_have_their_own_ids() -> None:
    panels = json.loads((MONITORING / "grafana-dashboard.json").read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24


@pytest.mark.skipif(shutil.which("promtool") is None, reason="Debian's package prometheus is not installed")
def test_prometheus_loads_the_rules_and_reads_the_metrics(tmp_path: Path) -> None:
    def checked(*arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(["promtool", "check", *arguments], input=text, capture_output=True, text=True, timeout=60)

    assert checked("rules", str(MONITORING / "alerts.yaml")).returncode == 0
    broken = tmp_path / "broken.yaml"
    broken.write_text((MONITORING / "alerts.yaml").read_text().replace("increase(", "increases(", 1))
    assert checked("rules", str(broken)).returncode != 0
    state = tmp_path / "state.json"
    state.write_text("{}")
    done = checked("metrics", text=text_of_state(state))
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
