"""comfy-api-simplified: README, "Use"."""

from comfy_api_simplified import ComfyApiWrapper, ComfyWorkflowWrapper
from todo import URL, left_colors

api = ComfyApiWrapper(URL)
workflow = ComfyWorkflowWrapper("workflow_api.json")
for path, color in left_colors():
    workflow.set_node_param("$color.color", "color", color)
    results = api.queue_and_wait_images(workflow, "Save Image")
    for image in results.values():
        path.write_bytes(image)
