"""comfyui-async-api-tool: README, "Positioning" and "Way 1"."""

import asyncio
import json
from pathlib import Path

import aiohttp
from comfyui_async_api_tool import ComfyClient
from todo import URL, left_colors


async def main():
    workflow = json.loads(Path("workflow_api.json").read_text())
    async with aiohttp.ClientSession() as session:
        client = ComfyClient(session, servers=[URL])
        for path, color in left_colors():
            async for event in client.run(workflow, values={"1": {"color": color}}):
                if event["type"] == "image":
                    path.write_bytes(event["data"])
                elif event["type"] == "error":
                    raise SystemExit(event["msg"])


asyncio.run(main())
