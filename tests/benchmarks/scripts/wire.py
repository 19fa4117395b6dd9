"""What the bare loop and the plain protocol share: a person's ComfyUI client, without any check."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import requests


def graph_for(workflow: dict[str, Any], *, text: str, name: str) -> dict[str, Any]:
    """The workflow with the prompt text and the name that its pictures are saved under on the server."""
    graph: dict[str, Any] = json.loads(json.dumps(workflow))
    for node in graph.values():
        if node["class_type"] == "RegexReplace":
            node["inputs"]["string"] = text
        elif node["class_type"] == "EmptyImage" and text.isdecimal():
            node["inputs"]["color"] = int(text)
        elif node["class_type"] == "SaveImage":
            node["inputs"]["filename_prefix"] = name
    return graph


def submit(
    session: requests.Session, server: str, graph: dict[str, Any], *, item: str, client_id: str | None = None
) -> str:
    """The id that the server gave the prompt. The item is named, so that the sandbox can count for each."""
    body = {"prompt": graph, "extra_data": {"burst": {"item": item}}}
    body |= {"client_id": client_id} if client_id is not None else {}
    prompt_id: str = session.post(f"{server}/prompt", json=body).json()["prompt_id"]
    return prompt_id


def outputs(session: requests.Session, server: str, prompt_id: str) -> dict[str, Any] | None:
    """What a finished prompt made, by node; None while it waits or runs."""
    history = session.get(f"{server}/history/{prompt_id}").json()
    return history[prompt_id]["outputs"] if prompt_id in history else None


def save(session: requests.Session, server: str, made: dict[str, Any], *, target: Path) -> None:
    """Write a prompt's pictures and texts."""
    for output in made.values():
        for picture in output.get("images", ()):
            target.with_suffix(".png").write_bytes(session.get(f"{server}/view", params=picture).content)
        for text in output.get("text", ()):
            target.with_suffix(".txt").write_text(text)
