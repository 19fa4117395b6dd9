"""ComfyUI's own script_examples/websockets_api_example.py, in a loop."""

import json
import urllib.parse
import urllib.request
import uuid

import websocket
from todo import ADDRESS, left

client_id = str(uuid.uuid4())


def queue_prompt(prompt, prompt_id):
    data = json.dumps({"prompt": prompt, "client_id": client_id, "prompt_id": prompt_id}).encode("utf-8")
    urllib.request.urlopen(urllib.request.Request(f"http://{ADDRESS}/prompt", data=data)).read()


def get_image(filename, subfolder, folder_type):
    values = urllib.parse.urlencode({"filename": filename, "subfolder": subfolder, "type": folder_type})
    with urllib.request.urlopen(f"http://{ADDRESS}/view?{values}") as response:
        return response.read()


def get_history(prompt_id):
    with urllib.request.urlopen(f"http://{ADDRESS}/history/{prompt_id}") as response:
        return json.loads(response.read())


def get_images(ws, prompt):
    prompt_id = str(uuid.uuid4())
    queue_prompt(prompt, prompt_id)
    while True:
        out = ws.recv()
        if isinstance(out, str):
            message = json.loads(out)
            if message["type"] == "executing":
                data = message["data"]
                if data["node"] is None and data["prompt_id"] == prompt_id:
                    break
    outputs = get_history(prompt_id)[prompt_id]["outputs"]
    return [
        get_image(image["filename"], image["subfolder"], image["type"])
        for node in outputs.values()
        for image in node.get("images", ())
    ]


ws = websocket.WebSocket()
ws.connect(f"ws://{ADDRESS}/ws?clientId={client_id}")
for path, graph in left():
    path.write_bytes(get_images(ws, graph)[0])
ws.close()
