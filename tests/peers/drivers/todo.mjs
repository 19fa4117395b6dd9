// What is left of the job, for every driver in JavaScript. See todo.py.
import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";

export const url = process.argv[2];
export const address = url.replace("http://", "");

export function left() {
  const [, ...rows] = fs.readFileSync("jobs.csv", "utf8").trim().split(/\r?\n/);
  return rows
    .map((row) => row.split(","))
    .map(([name, color]) => ({ file: path.join("images", name), color: Number(color) }))
    .filter(({ file }) => !fs.existsSync(file));
}

export function graphOf(color) {
  const graph = JSON.parse(fs.readFileSync("workflow_api.json", "utf8"));
  graph["1"].inputs.color = color;
  return graph;
}

// The client's package, from its own environment.
export async function client(name) {
  const modules = process.env.CLIENT_MODULES;
  const resolve = createRequire(path.join(modules, "from-here.js")).resolve;
  const module = await import(pathToFileURL(resolve(name)).href);
  return { ...module.default, ...module };
}
