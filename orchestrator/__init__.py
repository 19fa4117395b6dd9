"""Burst, as a library: the names that a script or an agent imports.

from orchestrator import run_burst
report = run_burst("re_render_state.json", size=15)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.adoption import adopt
    from orchestrator.attempt_history import read_attempts
    from orchestrator.batches.batch_status import list_batches, read_batch
    from orchestrator.batches.cleaning import clean_batches
    from orchestrator.batches.report_html import write_report
    from orchestrator.batches.sidecars import read_reproduction
    from orchestrator.batches.spec import BatchSpec
    from orchestrator.burst_history import read_history
    from orchestrator.cancellation import cancel
    from orchestrator.comfyui import ComfyUI
    from orchestrator.cycle.report import BurstReport
    from orchestrator.cycle.request import Request
    from orchestrator.cycle.run import run_burst
    from orchestrator.doctor import examine
    from orchestrator.editing import Edit, edit_items
    from orchestrator.event_stream import watch_events
    from orchestrator.fleet.fleet_up import fleet_up
    from orchestrator.fleet.standing import fleet_status
    from orchestrator.forgetting import forget
    from orchestrator.generation import generate
    from orchestrator.init_state import init_state as init
    from orchestrator.marks import star, tag
    from orchestrator.node_installation import install_node, node_status, uninstall_node
    from orchestrator.notifications.receivers import (
        add_receiver,
        check_receivers,
        list_receivers,
        remove_receivers,
    )
    from orchestrator.outputs import Outputs
    from orchestrator.pausing import pause, resume
    from orchestrator.priorities import set_priority
    from orchestrator.registration import abandon_server, add_servers, drain_servers, enable_servers, remove_servers
    from orchestrator.results.export import export_dataset
    from orchestrator.results.listing import query_images
    from orchestrator.retries import reset, retry
    from orchestrator.sandbox import Sandbox, SandboxSettings
    from orchestrator.server_copies.cleaning import clean_servers
    from orchestrator.server_list import list_servers
    from orchestrator.settings import Overrides
    from orchestrator.stage_chain import stage
    from orchestrator.state_copy import copy_state
    from orchestrator.state_upgrade import upgrade_state
    from orchestrator.status import read_status, watch_batch
    from orchestrator.sync import sync_list
    from orchestrator.template_inspection import check_template, list_templates, show_template
    from orchestrator.trashing import empty_trash, list_trash, restore_images, trash_images
    from orchestrator.update import update_items
    from orchestrator.verify import verify_outputs

__all__ = [
    "BatchSpec",
    "BurstReport",
    "ComfyUI",
    "Edit",
    "Outputs",
    "Overrides",
    "Request",
    "Sandbox",
    "SandboxSettings",
    "abandon_server",
    "add_servers",
    "adopt",
    "cancel",
    "check_template",
    "clean_batches",
    "clean_servers",
    "copy_state",
    "drain_servers",
    "edit_items",
    "empty_trash",
    "enable_servers",
    "examine",
    "export_dataset",
    "fleet_status",
    "fleet_up",
    "forget",
    "generate",
    "init",
    "install_node",
    "list_batches",
    "list_servers",
    "list_templates",
    "list_trash",
    "node_status",
    "pause",
    "query_images",
    "read_attempts",
    "read_batch",
    "read_history",
    "read_reproduction",
    "read_status",
    "remove_servers",
    "reset",
    "restore_images",
    "resume",
    "retry",
    "run_burst",
    "set_priority",
    "show_template",
    "stage",
    "star",
    "sync_list",
    "tag",
    "trash_images",
    "uninstall_node",
    "update_items",
    "upgrade_state",
    "verify_outputs",
    "watch_batch",
    "watch_events",
    "write_report",
    "add_receiver",
    "check_receivers",
    "list_receivers",
    "remove_receivers",
]

_HOMES = {
    "adoption": ("adopt",),
    "batches.spec": ("BatchSpec",),
    "batches.cleaning": ("clean_batches",),
    "batches.batch_status": ("list_batches", "read_batch"),
    "batches.report_html": ("write_report",),
    "batches.sidecars": ("read_reproduction",),
    "attempt_history": ("read_attempts",),
    "burst_history": ("read_history",),
    "cancellation": ("cancel",),
    "comfyui": ("ComfyUI",),
    "doctor": ("examine",),
    "editing": ("Edit", "edit_items"),
    "event_stream": ("watch_events",),
    "fleet.fleet_up": ("fleet_up",),
    "fleet.standing": ("fleet_status",),
    "forgetting": ("forget",),
    "generation": ("generate",),
    "init_state": ("init",),
    "marks": ("star", "tag"),
    "node_installation": ("install_node", "node_status", "uninstall_node"),
    "notifications.receivers": ("add_receiver", "check_receivers", "list_receivers", "remove_receivers"),
    "outputs": ("Outputs",),
    "pausing": ("pause", "resume"),
    "priorities": ("set_priority",),
    "registration": ("abandon_server", "add_servers", "drain_servers", "enable_servers", "remove_servers"),
    "results.export": ("export_dataset",),
    "results.listing": ("query_images",),
    "retries": ("reset", "retry"),
    "sandbox": ("Sandbox", "SandboxSettings"),
    "cycle.report": ("BurstReport",),
    "cycle.request": ("Request",),
    "cycle.run": ("run_burst",),
    "server_copies.cleaning": ("clean_servers",),
    "server_list": ("list_servers",),
    "settings": ("Overrides",),
    "stage_chain": ("stage",),
    "state_copy": ("copy_state",),
    "state_upgrade": ("upgrade_state",),
    "status": ("read_status", "watch_batch"),
    "sync": ("sync_list",),
    "template_inspection": ("check_template", "list_templates", "show_template"),
    "trashing": ("empty_trash", "list_trash", "restore_images", "trash_images"),
    "update": ("update_items",),
    "verify": ("verify_outputs",),
}
_CALLED = {"init": "init_state"}
"""The name of a function in its module, where that is another one: `orchestrator.init_state` is the module."""


def __getattr__(name: str) -> Any:
    """Import on first use, so that the errors and the clock can be imported without everything else."""
    for home, names in _HOMES.items():
        if name in names:
            import importlib

            return getattr(importlib.import_module(f"{__name__}.{home}"), _CALLED.get(name, name))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
