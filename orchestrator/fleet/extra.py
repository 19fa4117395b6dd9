"""What the extra `[fleet]` installs."""

from __future__ import annotations

from orchestrator.errors import UsageError


def check_extra() -> None:
    """Errors: UsageError without it."""
    try:
        import procrastinate  # noqa: F401
        import psycopg_pool  # noqa: F401
        import sqlalchemy  # noqa: F401
    except ModuleNotFoundError as error:
        raise UsageError(f"a fleet needs {error.name}: `pip install 'comfyui-burst[fleet]'`") from error
