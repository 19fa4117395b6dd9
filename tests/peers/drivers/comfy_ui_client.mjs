// comfy-ui-client of npm: README, "Example Usage".
import fs from "node:fs";
import { randomUUID } from "node:crypto";
import { address, client, graphOf, left } from "./todo.mjs";

const { ComfyUIClient } = await client("comfy-ui-client");
const comfyui = new ComfyUIClient(address, randomUUID());
await comfyui.connect();
for (const { file, color } of left()) {
  const images = await comfyui.getImages(graphOf(color));
  fs.writeFileSync(file, Buffer.from(await images["3"][0].blob.arrayBuffer()));
}
await comfyui.disconnect();
