"""systemd and Kubernetes: what their own programs and schemas say of what is written."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
from ruamel.yaml import YAML
from support.schedule_project import ScheduleProject

from orchestrator.scheduling.plan import plan_of
from orchestrator.scheduling.slots import Slots
from orchestrator.scheduling.systemd import units
from state.location import Location

KUBERNETES = ("--format", "kubernetes", "--image", "registry.local/burst:1")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="Debian's package systemd is not installed")
def test_systemd_accepts_the_units(project: ScheduleProject, tmp_path: Path) -> None:
    project.schedule("--every", "5m", "--at", "22:30-07:00", "--format", "systemd", "--install")
    odd = project.directory / "90.json"
    odd.write_text("{}")
    ScheduleProject(project.home, project.directory).schedule(
        "--every", "90m", "--format", "systemd", "--install", "--state", str(odd)
    )
    plan = plan_of(Location.of(project.state), Slots(60), environment=tmp_path / "x y%.env")
    for name, text in units(plan, user="root").items():
        (project.units / f"system-{name}").write_text(text.replace(f"{plan.name}.", f"system-{plan.name}."))

    def verified() -> tuple[int, list[str]]:
        files = sorted(map(str, project.units.iterdir()))
        assert len(files) == 6
        done = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", *files], capture_output=True, text=True, timeout=60
        )
        return done.returncode, [line for line in done.stderr.splitlines() if "burst" in line]

    assert verified() == (0, [])
    timer = next(project.units.glob("burst-90-*.timer"))
    timer.write_text(timer.read_text().replace("5400s", "often"))
    assert [timer.name in line for line in verified()[1]] == [True]


def test_systemd_is_told_once(project: ScheduleProject) -> None:
    first = project.json("--every", "5m", "--format", "systemd", "--install")
    assert (first["installed"], first["changed"]) == (True, True)
    paths = [Path(file["path"]) for file in first["files"]]
    assert sorted(project.units.iterdir()) == sorted(paths)
    assert [path.read_text() for path in paths] == [file["content"] for file in first["files"]]
    assert not project.json("--every", "5m", "--format", "systemd", "--install")["changed"]
    assert "systemd timer starts runs of this state too" in project.schedule("--every", "5m").stderr
    name = first["name"]
    assert (project.home / "systemctl").read_text().splitlines() == 2 * [
        "--user daemon-reload",
        f"--user enable --now {name}.timer",
    ]
    assert project.json("--remove")["changed"]
    assert list(project.units.iterdir()) == []
    assert (project.home / "systemctl").read_text().splitlines()[4:] == [
        f"--user disable --now {name}.timer",
        "--user daemon-reload",
    ]
    assert not project.json("--remove")["changed"]


def test_where_systemd_does_not_run_one_learns_what_to_type(project: ScheduleProject) -> None:
    (project.home / "bin/systemctl").write_text("#!/bin/sh\necho 'Failed to connect to bus' >&2; exit 1\n")
    told = project.schedule("--every", "5m", "--format", "systemd", "--install").stdout
    assert "`systemctl --user daemon-reload` failed (Failed to connect to bus): run it where systemd runs" in told


def test_units_say_which_exit_codes_are_no_failure(project: ScheduleProject) -> None:
    service, timer = (file["content"] for file in project.json("--every", "5m", "--format", "systemd")["files"])
    assert "\nSuccessExitStatus=1 75 129 130 143\n" in service
    assert "\nPersistent=true\n" in timer
    assert not project.units.exists()


def cron_job(project: ScheduleProject, *arguments: str) -> Any:
    return YAML(typ="safe").load(project.schedule(*arguments, *KUBERNETES).stdout)


@pytest.mark.parametrize("version", ["1.28", kubernetes_validate.latest_version()])
def test_the_manifest_is_as_its_schema_says(
    project: ScheduleProject, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    monkeypatch.setenv("COMFYUI_URL", "http://comfyui:8188")
    job = cron_job(project, "--every", "10m", "--at", "22:00-07:00")
    kubernetes_validate.validate(job, version, strict=True)
    assert (job["spec"]["schedule"], job["spec"]["timeZone"]) == ("*/10 0-6,22-23 * * *", "Europe/Berlin")
    assert job["spec"]["concurrencyPolicy"] == "Forbid"
    (container,) = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    assert container["env"] == [{"name": "TZ", "value": "Europe/Berlin"}]
    assert container["args"][:2] == ["run", "--state"]
    job["spec"]["concurrency"] = "Forbid"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(job, version, strict=True)


def test_the_container_maps_exit_codes(project: ScheduleProject, tmp_path: Path) -> None:
    job = cron_job(project, "--every", "10m")
    (container,) = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    stub = tmp_path / "burst"
    for code, expected in ((0, 0), (1, 0), (75, 0), (2, 2), (70, 70)):
        stub.write_text(f'#!/bin/sh\n[ "$1" = run ] && exit {code}\n')
        stub.chmod(0o700)
        done = subprocess.run([*container["command"], *container["args"]], env={"PATH": f"{tmp_path}:/bin"})
        assert done.returncode == expected


def test_a_cluster_is_never_changed(project: ScheduleProject) -> None:
    assert "kubectl apply" in project.schedule("--every", "5m", "--install", *KUBERNETES, code=2).stderr
    assert "--image" in project.schedule("--every", "5m", "--format", "kubernetes", code=2).stderr
