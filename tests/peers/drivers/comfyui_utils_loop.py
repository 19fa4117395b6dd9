"""comfyui-utils: README, "Usage"."""

import asyncio

from comfyui_utils import comfy
from todo import ADDRESS, left


class Callbacks(comfy.Callbacks):
    outputs = None

    async def queue_position(self, position):
        pass

    async def in_progress(self, node_id, progress, total):
        pass

    async def completed(self, outputs, cached):
        self.outputs = outputs


async def main():
    api = comfy.ComfyAPI(ADDRESS)
    for path, graph in left():
        callbacks = Callbacks()
        await api.submit(graph, callbacks)

        async def on_load(data, path=path):
            path.write_bytes(data.read())

        await api.fetch(callbacks.outputs["images"][0], on_load)


asyncio.run(main())
