"""The files in deploy/: what their own programs and schemas say, and whether burst takes the commands in them."""

from __future__ import annotations

import configparser
import json
import re
import shlex
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import kubernetes_validate
import pytest
from compose_spec import PyCompose
from ruamel.yaml import YAML

from burst import cli
from orchestrator.host_config import load_host_config

DEPLOY = Path(__file__).parents[2] / "deploy"
UNITS = sorted((DEPLOY / "systemd").iterdir())
KUBERNETES_VERSIONS = ("1.28", kubernetes_validate.latest_version())


def documents() -> list[dict[str, Any]]:
    return [dict(one) for one in YAML(typ="safe").load_all((DEPLOY / "kubernetes.yaml").read_text())]


def compose() -> dict[str, Any]:
    found: dict[str, Any] = YAML(typ="safe").load((DEPLOY / "compose.yaml").read_text())
    return found


def parsed(text: str) -> PyCompose:
    """As Compose reads it: with a value for each variable, and merged what is merged. Errors: ValueError."""
    whole = YAML(typ="safe").load(re.sub(r"\$\{\w+:\?[^}]*\}", "value", text))
    return PyCompose.from_json(json.dumps({name: part for name, part in whole.items() if not name.startswith("x-")}))


def containers(document: dict[str, Any]) -> list[dict[str, Any]]:
    pod = document.get("spec", {}).get("template", {}).get("spec", {})
    return [*pod.get("initContainers", []), *pod.get("containers", [])]


def burst_commands() -> Iterator[list[str]]:
    for document in documents():
        yield from (one["args"] for one in containers(document) if "burst" in one["image"])
    yield from (one["command"] for one in compose()["services"].values() if one["image"] == "burst")
    for unit in UNITS:
        yield from (shlex.split(line)[1:] for line in re.findall("^ExecStart=(.*)$", unit.read_text(), re.MULTILINE))
    # In comments, as somebody types them.
    typed = (DEPLOY / "compose.yaml").read_text().replace("\\\n#", " ")
    yield from (shlex.split(line) for line in re.findall("run --rm burst (generate .*)$", typed, re.MULTILINE))


@pytest.mark.parametrize("version", KUBERNETES_VERSIONS)
def test_the_kubernetes_example_is_as_its_schema_says(version: str) -> None:
    for document in documents():
        kubernetes_validate.validate(document, version, strict=True)


def test_a_mistake_in_the_kubernetes_example_would_be_found() -> None:
    (worker,) = (one for one in documents() if one["kind"] == "Deployment")
    worker["spec"]["template"]["spec"]["terminationGracePeriod"] = 20
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(worker, KUBERNETES_VERSIONS[-1], strict=True)


def test_the_kubernetes_example_has_its_parts() -> None:
    kinds = [one["kind"] for one in documents()]
    assert {"Secret", "Deployment", "Job", "StatefulSet", "Service", "PersistentVolumeClaim"} <= set(kinds)
    (servers,) = (one["spec"]["template"]["spec"] for one in documents() if one["kind"] == "StatefulSet")
    assert "nodeAffinity" in servers["affinity"]
    assert servers["containers"][0]["resources"]["limits"] == {"nvidia.com/gpu": "1"}
    for document in documents():
        assert [one for one in containers(document) if "burst" in one["image"] and "envFrom" not in one] == []


def test_the_compose_file_is_as_its_specification_says() -> None:
    names = parsed((DEPLOY / "compose.yaml").read_text()).service_names()
    assert {"postgres", "comfyui", "fleet-up", "register", "worker"} <= set(names)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("stop_grace_period: 20s", "stop_grace_period: soon"),
        ("restart: always", "restart: often"),
        ("condition: service_healthy", "condition: healthy"),
        ("init: true", "inti: true"),
    ],
)
def test_a_mistake_in_the_compose_file_would_be_found(right: str, wrong: str) -> None:
    text = (DEPLOY / "compose.yaml").read_text()
    assert right in text
    with pytest.raises(ValueError, match=wrong.rpartition(": ")[2] if "inti" not in wrong else "inti"):
        parsed(text.replace(right, wrong))


def test_a_worker_is_started_again_whenever_it_ends() -> None:
    assert compose()["services"]["worker"]["restart"] == "always"
    unit = (DEPLOY / "systemd/burst-worker.service").read_text()
    assert re.search("^Restart=always$", unit, re.MULTILINE)
    assert re.search("^StartLimitIntervalSec=0$", unit, re.MULTILINE)


@pytest.mark.parametrize("text", [path.read_text() for path in sorted(DEPLOY.rglob("*")) if path.is_file()])
def test_no_password_stands_in_an_address(text: str) -> None:
    """Where everybody could read it in the list of processes."""
    assert not re.search(r"://[^\s/@]+:[^\s/@]+@", text)


needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="Debian's package systemd is not installed"
)


def verify(directory: Path, *changes: tuple[str, str]) -> list[str]:
    """What systemd has to say of the units."""
    program = directory / "burst"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    for unit in UNITS:
        text = unit.read_text()
        for old, new in (("/opt/burst/bin/burst", str(program)), *changes):
            text = text.replace(old, new)
        (directory / unit.name).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *(str(directory / unit.name) for unit in UNITS)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    return [line for line in done.stderr.splitlines() if "burst" in line] or [f"exit code {done.returncode}"]


@needs_systemd
def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    assert verify(tmp_path) == ["exit code 0"]


@needs_systemd
def test_systemd_finds_a_mistake_in_a_unit(tmp_path: Path) -> None:
    (line,) = verify(tmp_path, ("Restart=always", "Restart=often"))
    assert "burst-worker.service" in line


@pytest.mark.parametrize("arguments", list(burst_commands()), ids=" ".join)
def test_burst_takes_the_commands(arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    renders = tmp_path / "renders"
    renders.mkdir()
    config = tmp_path / "host.toml"
    config.write_text((DEPLOY / "host.toml").read_text().replace("/renders", str(renders)))
    monkeypatch.setenv("BURST_HOST_CONFIG", str(config))
    command: click.Command = cli
    with click.Context(cli) as context:
        while isinstance(command, click.Group):
            name, *arguments = arguments
            found = command.get_command(context, name)
            assert found is not None, name
            command = found
        command.make_context(command.name, list(arguments))


def test_the_configuration_of_a_host_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    (kubernetes,) = (one["data"]["host.toml"] for one in documents() if one["kind"] == "ConfigMap")
    assert tomllib.loads(kubernetes) == tomllib.loads((DEPLOY / "host.toml").read_text())
    monkeypatch.setenv("BURST_HOST_CONFIG", str(DEPLOY / "host.toml"))
    load_host_config()


def test_the_timer_starts_the_burst() -> None:
    timer = configparser.ConfigParser()
    timer.read(DEPLOY / "systemd/burst-run.timer")
    assert "OnCalendar" in timer["Timer"]
    assert (DEPLOY / "systemd/burst-run.service").exists()


def test_the_image_is_built_of_what_is_there() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    about = configparser.ConfigParser()
    about.read(DEPLOY.parent / "setup.cfg")
    for source in re.findall(r"^COPY (\S+) ", text, re.MULTILINE):
        assert source == "dist/*.whl" or (DEPLOY.parent / source).is_file()
    [extras] = re.findall(r"\$\{wheel\}\[(.*?)\]", text)
    assert set(extras.split(",")) <= set(about["options.extras_require"])
    [version] = re.findall(r"^FROM python:3\.(\d+)-", text, re.MULTILINE)
    assert int(version) >= int(about["options"]["python_requires"].removeprefix(">=3."))
