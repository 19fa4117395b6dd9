"""comfy-script: README, "Runtime", and `get_images` of its examples: queue all, then wait for each."""

from comfy_script.runtime import *  # noqa: F403
from todo import URL, left_colors

load(URL)  # noqa: F405
from comfy_script.runtime.nodes import *  # noqa: E402, F403

tasks = []
for path, color in left_colors():
    with Workflow() as workflow:  # noqa: F405
        image = BurstPeersWait(EmptyImage(256, 256, 1, color), 0.2)  # noqa: F405
        saved = SaveImage(image, "job")  # noqa: F405
    tasks.append((path, workflow.task, saved))
for path, task, saved in tasks:
    task.wait_result(saved)[0].save(path)
