// @saintno/comfyui-sdk: README, "Basic Usage".
import fs from "node:fs";
import { client, graphOf, left, url } from "./todo.mjs";

const { CallWrapper, ComfyApi, PromptBuilder } = await client("@saintno/comfyui-sdk");
const api = await new ComfyApi(url).init().waitForReady();
for (const { file, color } of left()) {
  const workflow = new PromptBuilder(graphOf(0), ["color"], ["images"])
    .setInputNode("color", "1.inputs.color")
    .setOutputNode("images", "3")
    .input("color", color);
  const data = await new Promise((resolve, reject) => {
    new CallWrapper(api, workflow).onFinished(resolve).onFailed(reject).run();
  });
  const blob = await api.getImage(data.images.images[0]);
  fs.writeFileSync(file, Buffer.from(await blob.arrayBuffer()));
}
process.exit(0);
