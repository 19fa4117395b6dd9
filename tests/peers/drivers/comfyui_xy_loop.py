"""comfyui-xy: README, "Quick Start", with the client that it recommends for production scripts."""

from comfyui_xy import ComfyUiClient
from todo import URL, left

client = ComfyUiClient(url=URL, timeout=30, execution_timeout=300, raise_on_error=True)
for path, graph in left():
    for response in client.process_workflow(graph):
        if response.is_file:
            response.save(path)
