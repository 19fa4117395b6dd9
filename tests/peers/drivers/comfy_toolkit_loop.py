"""comfy-toolkit: README, "Quickstart"."""

from comfy_toolkit import ComfyClient
from todo import URL, left

client = ComfyClient(URL)
for path, graph in left():
    result = client.submit_and_track(graph)
    client.save(result["images"][0], path)
