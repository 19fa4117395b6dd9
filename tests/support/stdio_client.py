"""An MCP client that starts `burst mcp` on standard input and output, and can kill it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
INITIALIZE = {
    "protocolVersion": "2025-06-18",
    "capabilities": {},
    "clientInfo": {"name": "test", "version": "1"},
}


class StdioClient:
    """Speaks to a server that it starts, a line a message."""

    def __init__(self, state: Path, *options: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "burst", "mcp", "--state", str(state), *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        self._number = 0
        self.ask("initialize", INITIALIZE)
        self._write({"method": "notifications/initialized"})

    def ask(self, method: str, parameters: dict[str, Any]) -> dict[str, Any]:
        self.begin(method, parameters)
        return self.answer()

    def begin(self, method: str, parameters: dict[str, Any]) -> None:
        self._number += 1
        self._write({"id": self._number, "method": method, "params": parameters})

    def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        result = self.ask("tools/call", {"name": tool, "arguments": arguments})
        assert not result.get("isError"), result
        document: dict[str, Any] = json.loads(result["content"][0]["text"])
        return document

    def answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            message = json.loads(line)  # nothing else may be written there
            if message.get("id") == self._number:
                result: dict[str, Any] = message["result"]
                return result
        raise AssertionError("the server ended")

    def kill(self) -> None:
        self._process.kill()
        self._close()

    def leave(self) -> int:
        """Its exit code, once its standard input has ended."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        code = self._process.wait(timeout=30)
        self._close()
        return code

    def _close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.wait(timeout=30)
        self._process.stdin.close()
        self._process.stdout.close()

    def _write(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
        self._process.stdin.flush()
