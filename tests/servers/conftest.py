"""What the tests of servers' names share: a sandbox, and a project before it."""

from kills.conftest import make_project, proxy, sandbox

__all__ = ["make_project", "proxy", "sandbox"]
