"""What a command loads: as little as it needs, so that it starts fast."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.sandbox import Sandbox

ROOT = Path(__file__).parents[2]
HEAVY = {
    *("aiohttp", "asyncio", "fastapi", "flask", "jinja2", "starlette", "uvicorn", "websockets"),
    *("procrastinate", "psycopg_pool", "psycopg", "psycopg2", "sqlalchemy", "sqlite3", "alembic", "sky"),
    *("numpy", "prometheus_client", "tomli_w", "tqdm", "pytest"),
    *("mcp", "mcp_types", "pydantic", "jsonschema"),
}
"""Web, fleet and SQL, and what only other commands need."""
OTHER_COMMANDS = {
    f"orchestrator.{name}"
    for name in (
        *(
            "batches.cleaning",
            "batches.batch_status",
            "batches.report_html",
            "cancellation",
            "contact_sheet",
            "demo",
            "doctor",
            "report_pages",
        ),
        *(
            "fleet",
            "template_inspection",
            "retries",
            "verify",
            "cycle.dry_run",
            "sandbox",
            "web",
            "mcp_server",
            "error_kinds",
        ),
    )
}
READERS = {"PIL", "PIL.Image", "PIL.ImageFile", "PIL.PngImagePlugin"}


_MAIN = """
import sys
from burst import main
try:
    main()
finally:
    print("loaded:", *sys.modules, file=sys.stderr)
"""


def loaded_by(*arguments: str, cwd: Path) -> set[str]:
    """Every module that is loaded when `burst ARGUMENTS` has ended."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("BURST_", "COMFYUI_"))}
    done = subprocess.run(
        [sys.executable, "-c", _MAIN, *arguments],
        cwd=cwd,
        env={**kept, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("loaded:"))
    return set(line.split()[1:])


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["--version"]], ids=" ".join)
def test_help_loads_the_command_line_and_nothing_behind_it(tmp_path: Path, arguments: list[str]) -> None:
    loaded = loaded_by(*arguments, cwd=tmp_path)
    loaded_commands = {name for name in loaded if name.startswith("orchestrator.commands.")}
    if arguments == ["run", "--help"]:
        needed = ("run", "common", "flag_names", "help", "output", "signals", "terminal")
        assert loaded_commands == {f"orchestrator.commands.{name}" for name in needed}
    assert "click" in loaded
    assert not loaded & (HEAVY | OTHER_COMMANDS | READERS)
    assert not loaded & {"requests", "urllib3", "ssl", "msgspec", "filelock", "tenacity"}
    ours = {name for name in loaded if name.split(".")[0] in ("orchestrator", "state", "templates")}
    assert ours - loaded_commands == {
        "orchestrator",
        "orchestrator.commands",
        "orchestrator.errors",
        "orchestrator.formatting",
        "orchestrator.wording",
    }


def test_a_run_loads_neither_web_nor_fleet_nor_sql_and_of_pictures_what_it_reads(tmp_path: Path) -> None:
    state = tmp_path / "re_render_state.json"
    state.write_text(json.dumps({"a": {"status": "pending", "prompt_text": "a fox"}}))
    with Sandbox() as sandbox:
        run = ["run", "--template", "smoke", "--server", sandbox.url, "--poll-interval", "0.2"]
        loaded = loaded_by(*run, cwd=tmp_path)
        again = loaded_by(*run, cwd=tmp_path)
    assert "orchestrator.cycle.run" in loaded
    assert not loaded & (HEAVY | OTHER_COMMANDS)
    assert not {"state.batch", "orchestrator.batches.completion"} & loaded, "there is no batch"
    assert "tenacity" not in loaded, "only a request that failed needs it"
    assert loaded >= READERS
    assert not {name for name in loaded if name.endswith("ImagePlugin")} - READERS, "the picture is a PNG"
    assert not {name for name in again if name.split(".")[0] == "PIL"}, "nothing was left to read"
    assert not {name for name in again if name.split(".")[0] == "websocket"}, "nothing was sent"
    assert not again & {"requests", "urllib3", "ssl"}, "no server was contacted"
