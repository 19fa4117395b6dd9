"""comfykit: README, "Quick Start", with `$color.color` as the title of the node whose parameter changes."""

import asyncio
import urllib.request

from comfykit import ComfyKit
from todo import URL, left_colors


async def main():
    kit = ComfyKit(comfyui_url=URL)
    for path, color in left_colors():
        result = await kit.execute("workflow_api.json", {"color": color})
        if result.status != "completed":
            raise SystemExit(result.msg)
        with urllib.request.urlopen(result.images[0]) as answer:
            path.write_bytes(answer.read())


asyncio.run(main())
