"""comfyapi: README, "Batch Example". Its batch_submit varies seeds alone, so each prompt is edited and submitted."""

import time

from comfyapi import ComfyAPIManager
from todo import URL, left_colors

manager = ComfyAPIManager()
manager.set_base_url(URL)
manager.load_workflow("workflow_api.json")
pending = {}
for path, color in left_colors():
    manager.edit_workflow(["1", "inputs", "color"], color)
    pending[manager.submit_workflow()] = path
while pending:
    for uid in list(pending):
        if manager.check_queue(uid):
            output_url, _ = manager.find_output(uid, with_filename=True)
            manager.download_output(output_url, save_path="images", filename=pending.pop(uid).name)
    time.sleep(1)
