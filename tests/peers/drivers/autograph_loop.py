"""comfyui-autograph: README, "Submit + images"."""

from autograph import ApiFlow
from todo import URL, left_colors

api = ApiFlow("workflow_api.json")
for path, color in left_colors():
    api["1"]["inputs"]["color"] = color  # api.EmptyImage.color is the color of the node in the editor
    res = api.submit(server_url=URL, wait=True)
    res.fetch_images().save(str(path))
