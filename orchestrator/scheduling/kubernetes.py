"""Kubernetes: a CronJob whose container is one run."""

from __future__ import annotations

import io
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from orchestrator.errors import UsageError
from orchestrator.scheduling.plan import QUIET_CODES, Plan

_ZONE = Path("/etc/localtime")
_KEPT_ZONES = "zoneinfo/"
_LEAST_ACTIVE_SECONDS = 900
"""Before a job that does not end is killed: pulling an image may take a while."""


def manifest(plan: Plan, *, image: str, variables: Collection[str], is_file: bool) -> str:
    """YAML. `variables`: those that the Secret of its name must hold. `is_file`: the state is a file, on a volume."""
    from ruamel.yaml import YAML

    out = io.StringIO()
    yaml = YAML()
    yaml.width = 4096
    yaml.dump(_cron_job(plan, image=image, has_secret=bool(variables), is_file=is_file), out)
    return "".join(f"# {line}\n" for line in _before(plan, variables, is_file=is_file)) + out.getvalue()


def _before(plan: Plan, variables: Collection[str], *, is_file: bool) -> list[str]:
    lines = []
    if is_file:
        lines.append(f"The volume claim {plan.name} holds {plan.directory}, with the state and what it needs.")
    if variables:
        values = " ".join(f'--from-literal={name}="${name}"' for name in variables)
        lines += ["Once, where these variables are set:", f"  kubectl create secret generic {plan.name} {values}"]
    return lines


def _cron_job(plan: Plan, *, image: str, has_secret: bool, is_file: bool) -> dict[str, Any]:
    codes = "|".join(map(str, QUIET_CODES))
    container: dict[str, Any] = {
        "name": "burst",
        "image": image,
        "command": ["/bin/sh", "-c", f'burst "$@"; c=$?; case $c in {codes}) exit 0;; esac; exit $c', "burst"],
        "args": list(plan.arguments),
        "workingDir": str(plan.directory),
    }
    pod: dict[str, Any] = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 20, "containers": [container]}
    if has_secret:
        container["envFrom"] = [{"secretRef": {"name": plan.name}}]
    if is_file:
        container["volumeMounts"] = [{"name": "state", "mountPath": str(plan.directory)}]
        pod["volumes"] = [{"name": "state", "persistentVolumeClaim": {"claimName": plan.name}}]
    spec: dict[str, Any] = {
        "schedule": plan.slots.cron(),
        "concurrencyPolicy": "Forbid",
        "startingDeadlineSeconds": plan.slots.every_seconds,
        "successfulJobsHistoryLimit": 1,
        "failedJobsHistoryLimit": 3,
        "jobTemplate": {
            "spec": {
                "backoffLimit": 0,
                "activeDeadlineSeconds": max(_LEAST_ACTIVE_SECONDS, 2 * plan.slots.every_seconds),
                "template": {"metadata": {"labels": {"app": plan.name}}, "spec": pod},
            }
        },
    }
    if plan.slots.hours is not None:
        spec["timeZone"] = zone = time_zone()
        container["env"] = [{"name": "TZ", "value": zone}]
    return {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": plan.name}, "spec": spec}


def log_command(name: str) -> str:
    """What shows the log of its runs."""
    return f"kubectl logs -l app={name} --tail=-1"


def time_zone() -> str:
    """The name of this host's, which a cluster does not know. Errors: UsageError."""
    name = os.environ.get("TZ", "").removeprefix(":")
    if not name:
        name = os.path.realpath(_ZONE).partition(_KEPT_ZONES)[2] or "UTC"
    try:
        return ZoneInfo(name).key
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise UsageError(
            f"the time zone {name!r} has no name that Kubernetes knows; set TZ, such as Europe/Berlin"
        ) from error
