"""`burst node`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from orchestrator.commands.common import NamedPath, json_option, show
from orchestrator.commands.help import Group

comfyui_option = click.option(
    "--comfyui",
    type=NamedPath(),
    required=True,
    envvar="COMFYUI_DIR",
    metavar="DIR",
    help="ComfyUI's directory or its --base-directory (or COMFYUI_DIR).",
)


@click.group(cls=Group, short_help="Install nodes in ComfyUI that process directories of images.")
def node() -> None:
    """Batch Image Loader and Batch Image Saver inside ComfyUI: install, remove, show status."""


@node.command(short_help="Install or update the nodes.")
@comfyui_option
@click.option("--link", is_flag=True, help="Link to burst's own files instead of copying them.")
@click.option("--force", is_flag=True, help="Overwrite files that were changed.")
@json_option
def install(comfyui: Path, link: bool, force: bool, as_json: bool) -> None:
    """Copy the nodes into ComfyUI's custom_nodes, or bring them up to date. Then restart ComfyUI."""
    from orchestrator.node_installation import install_node

    show(install_node(comfyui, link=link, force=force), as_json)


@node.command(short_help="Remove the nodes.")
@comfyui_option
@click.option("--force", is_flag=True, help="Also remove files that were changed.")
@json_option
def uninstall(comfyui: Path, force: bool, as_json: bool) -> None:
    """Remove what `burst node install` put there, and nothing else. The positions in the directories are kept."""
    from orchestrator.node_installation import uninstall_node

    show(uninstall_node(comfyui, force=force), as_json)


@node.command(short_help="Show what is installed.")
@comfyui_option
@json_option
def status(comfyui: Path, as_json: bool) -> None:
    """Show what is installed, and what was changed. Exits 1 unless it is what this burst would install."""
    from orchestrator.node_installation import node_status

    report = node_status(comfyui)
    show(report, as_json)
    sys.exit(report.exit_code)
