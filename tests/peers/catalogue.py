"""The clients: what is installed, and which driver stands for their documentation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

QUEUE = "all at once"
ONE = "one at a time"


@dataclass(frozen=True)
class Client:
    """`packages`: requirements with their versions, the first of them the client's own; none for what is written by
    hand. `released`: year and month of that version. `driver`: a file of `drivers/`; `.mjs` needs Node. `submits`: how
    its documentation has one write a loop.
    """

    name: str
    driver: str
    packages: Sequence[str] = ()
    released: str = ""
    submits: str = ONE

    @property
    def is_npm(self) -> bool:
        return self.driver.endswith(".mjs")


CLIENTS: Sequence[Client] = (
    Client("burst", "burst.sh", submits=QUEUE),
    Client("plain loop", "plain_loop.py", submits=QUEUE),
    Client("ComfyUI's websocket example", "websocket_example.py", ("websocket-client==1.9.0",)),
    Client("@saintno/comfyui-sdk", "saintno.mjs", ("@saintno/comfyui-sdk@0.3.1",), "2026-08"),
    Client(
        "@stable-canvas/comfyui-client",
        "stable_canvas.mjs",
        ("@stable-canvas/comfyui-client@1.5.9", "ws@8.20.0"),
        "2026-08",
    ),
    Client("comfy-ui-client (npm)", "comfy_ui_client.mjs", ("comfy-ui-client@0.1.2",), "2025-10"),
    Client("comfy-api-simplified", "api_simplified_loop.py", ("comfy-api-simplified==1.6.0",), "2026-03"),
    Client("comfy-script", "comfy_script_loop.py", ("comfy-script[client,runtime]==0.6.1",), "2025-11", QUEUE),
    Client("comfykit", "comfykit_loop.py", ("comfykit==0.1.12",), "2026-01"),
    Client("comfyui-workflow-client", "workflow_client_loop.py", ("comfyui-workflow-client==0.1.0",), "2025-06"),
    Client("comfyui-utils", "comfyui_utils_loop.py", ("comfyui-utils==0.0.1",), "2023-11"),
    Client("comfyui-xy", "comfyui_xy_loop.py", ("comfyui-xy==0.3.0",), "2026-04"),
    Client("comfyui-autograph", "autograph_loop.py", ("comfyui-autograph==2.3.0",), "2026-08"),
    Client("comfy-toolkit", "comfy_toolkit_loop.py", ("comfy-toolkit[ws]==0.1.0",), "2026-07"),
    Client(
        "comfyui-async-api-tool",
        "async_api_tool_loop.py",
        ("comfyui-async-api-tool==0.1.0",),
        "2026-08",
    ),
    Client("comfyapi", "comfyapi_loop.py", ("comfyapi==2.0.1",), "2025-04", QUEUE),
)
