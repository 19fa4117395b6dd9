// @stable-canvas/comfyui-client: README, "enqueue", with ws as README has it for Node.
import fs from "node:fs";
import { address, client, graphOf, left } from "./todo.mjs";

const { Client } = await client("@stable-canvas/comfyui-client");
const { default: WebSocket } = await client("ws");
const comfyui = new Client({ api_host: address, WebSocket, fetch });
await comfyui.connect();
for (const { file, color } of left()) {
  const { images } = await comfyui.enqueue(graphOf(color));
  const [image] = images;
  const data = image.type === "url" ? await (await fetch(image.data)).arrayBuffer() : image.data;
  fs.writeFileSync(file, Buffer.from(data));
}
comfyui.close();
process.exit(0);
