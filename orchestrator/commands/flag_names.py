"""How the command line writes a parameter of the library."""

from __future__ import annotations

import math
import shlex

_FLAGS = {
    "always_new": "--again",
    "ask_server": "--server URL",
    "bindings": "--bind",
    "cfg": "--cfg-scale",
    "everything": "--all",
    "from_file": "--from",
    "headers": "--header",
    "loras": "--lora",
    "output_dir": "--output",
    "patterns": "--pattern",
    "roots": "--root",
    "servers": "--server",
    "sets": "--set",
    "sweeps": "--sweep",
    "target": "--html",
    "wait_lock_seconds": "--wait-lock",
}
"""Where it is not the parameter's own name."""


def as_flag(name: str, value: object = None, *, key: str | None = None) -> str:
    """`--seed-mode`, `--seed-mode random`, `--again`, `--set steps`, `--bind steps=3.steps`: as a shell takes it."""
    flag = _FLAGS.get(name) or f"--{name.replace('_', '-')}"
    if value is True:
        return flag
    if value == math.inf:
        value = "off"
    said = (": " if name == "headers" else "=").join(str(part) for part in (key, value) if part is not None)
    return f"{flag} {shlex.quote(said)}" if said else flag
