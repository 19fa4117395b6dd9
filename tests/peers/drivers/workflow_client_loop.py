"""comfyui-workflow-client: README, "Batch Processing"."""

from comfyuiclient import ComfyUIClient
from todo import ADDRESS, left_colors

client = ComfyUIClient(ADDRESS, "workflow_api.json")
client.connect()
for path, color in left_colors():
    client.set_data(key="EmptyImage", input_key="color", input_value=color)
    for image in client.generate(["Save Image"]).values():
        image.save(path)
client.close()
