"""Machines with addresses and host names of their own, on two switches that nothing else reaches.

One switch is for ComfyUI, one for the database, so that a machine can be cut off from either. Where namespaces cannot
be created, every machine is an address of loopback; none can be cut off then, and all have one host name.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from dataclasses import dataclass
from typing import Self

from support.hosts import Host, can_have_hosts

_SWITCHES = {"comfyui": "10.77.1", "database": "10.77.2"}
"""The name of each switch, which is that of its bridge, and the network on it."""


@dataclass(frozen=True)
class Machine:
    """One machine. `address`: by which the others reach it for ComfyUI; `state_address`: for the database."""

    name: str
    prefix: tuple[str, ...]
    """Runs a command on it."""
    address: str
    state_address: str
    network: Network

    def cut_off(self, switch: str = "database") -> None:
        """Pull the cable to this switch: packets get lost silently, connections stay open."""
        self.network.set_port(self.name, switch, up=False)

    def reconnect(self, switch: str = "database") -> None:
        self.network.set_port(self.name, switch, up=True)


class Network:
    """A context manager; leaving it removes the machines but ends no process on them."""

    def __init__(self) -> None:
        self._closing = contextlib.ExitStack()
        self._hub: Host | None = None
        self._count = 0

    def __enter__(self) -> Self:
        if os.geteuid() == 0 and can_have_hosts():
            self._hub = self._closing.enter_context(Host("switches"))
            for bridge in _SWITCHES:
                self._on_hub("ip", "link", "add", bridge, "type", "bridge")
                self._on_hub("ip", "link", "set", bridge, "up")
        return self

    def __exit__(self, *error: object) -> None:
        self._closing.close()

    @property
    def has_namespaces(self) -> bool:
        return self._hub is not None

    def add(self, name: str) -> Machine:
        """One more machine. `name`: short, it is part of the name of its ports."""
        self._count += 1
        if self._hub is None:
            address = f"127.0.0.{10 + self._count}"
            return Machine(name, (), address, address, self)
        host = self._closing.enter_context(Host(name))
        addresses = {}
        for bridge, network in _SWITCHES.items():
            addresses[bridge] = f"{network}.{10 + self._count}"
            port = _port(name, bridge)
            _run("ip", "link", "add", port, "netns", str(self._hub.pid), "type", "veth",
                 "peer", "name", bridge, "netns", str(host.pid))  # fmt: skip
            self._on_hub("ip", "link", "set", port, "master", bridge, "up")
            _run(*host.prefix, "ip", "address", "add", f"{addresses[bridge]}/24", "dev", bridge)
            _run(*host.prefix, "ip", "link", "set", bridge, "up")
        return Machine(name, host.prefix, addresses["comfyui"], addresses["database"], self)

    def set_port(self, name: str, switch: str, *, up: bool) -> None:
        """Plug a machine's cable in at a switch, or out."""
        assert self._hub is not None, "no namespaces, no cables"
        self._on_hub("ip", "link", "set", _port(name, switch), "up" if up else "down")

    def _on_hub(self, *command: str) -> None:
        assert self._hub is not None
        _run(*self._hub.prefix, *command)


def _port(name: str, switch: str) -> str:
    return f"{switch[:2]}-{name}"


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
