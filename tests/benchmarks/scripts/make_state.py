"""A state file as a person or a script would make it: COUNT pending records of BYTES bytes each.

    python -m tests.benchmarks.scripts.make_state FILE COUNT BYTES

Written record by record and synced, so that what is measured later pays for no write of this.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path


def record(number: int, *, length: int) -> str:
    """A record whose JSON text has this many bytes. Errors: ValueError where it has no room.

    The prompt text is a number, as the workflow PICTURE of `project` wants it.
    """
    fields = {
        "status": "pending",
        "subfolder": f"EP{number // 1000:04d}",
        "filename": f"prompt_{number:06d}.txt",
        "prompt_text": "",
    }
    room = length - len(json.dumps(fields))
    if room < 1:
        raise ValueError(f"a record takes more than {length} bytes")
    fields["prompt_text"] = str(number).rjust(room, "0")
    return json.dumps(fields)


def make_state(path: Path, *, count: int, length: int = 400) -> None:
    """Keys and records of the same length whatever `count` is."""
    with path.open("w") as stream:
        for number in range(count):
            before = ",\n" if number else "{\n"
            stream.write(f'{before}"prompts/EP{number // 1000:04d}/prompt_{number:06d}.txt": ')
            stream.write(record(number, length=length))
        stream.write("\n}\n")
        stream.flush()
        os.fsync(stream.fileno())


if __name__ == "__main__":
    make_state(Path(sys.argv[1]), count=int(sys.argv[2]), length=int(sys.argv[3]))
