"""What the tests of servers' names share: a sandbox, a proxy before it, a project, and other times of the client."""

from faults.conftest import set_times
from kills.conftest import make_project, proxy, sandbox

__all__ = ["make_project", "proxy", "sandbox", "set_times"]
