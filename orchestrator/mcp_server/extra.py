"""What the extra `[mcp]` installs."""

from __future__ import annotations

from orchestrator.errors import UsageError


def check_extra() -> None:
    """Errors: UsageError without it."""
    try:
        import mcp.server.mcpserver  # noqa: F401
    except ModuleNotFoundError as error:
        raise UsageError(f"an MCP server needs {error.name}: `pip install 'comfyui-burst[mcp]'`") from error
