// The built package: the code blocks of the README, the example that is killed, and CommonJS.
import { transform } from "esbuild";
import { type ChildProcessByStdio, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import type { Readable } from "node:stream";
import { afterAll, beforeAll, expect, test } from "vitest";

import { Client } from "../src/index.js";
import { Server } from "./server.js";

// Inside of the package, so that it finds itself by its name.
const FOLDER = resolve("build/pages");
let server: Server;

beforeAll(async () => {
  server = await Server.start();
  await mkdir(FOLDER, { recursive: true });
});

afterAll(async () => {
  await server.stop();
  await rm(FOLDER, { recursive: true, force: true });
});

async function compiled(name: string, source: string): Promise<string> {
  const { code } = await transform(source, { loader: "ts", format: "esm", target: "node20" });
  const path = join(FOLDER, name);
  await writeFile(path, code.replaceAll("127.0.0.1:7433", server.target));
  return path;
}

function run(...command: string[]): ChildProcessByStdio<null, Readable, Readable> {
  return spawn(process.execPath, command, { cwd: FOLDER, stdio: ["ignore", "pipe", "pipe"] });
}

async function output(child: ChildProcessByStdio<null, Readable, Readable>): Promise<string> {
  let said = "";
  child.stdout.on("data", (data: Buffer) => (said += data.toString()));
  child.stderr.on("data", (data: Buffer) => (said += data.toString()));
  await once(child, "close");
  return said;
}

test("the code of the README runs as written", async () => {
  const page = await readFile("README.md", "utf8");
  const blocks = [...page.matchAll(/^```ts\n(.*?)^```$/gms)].map((found) => found[1] as string);
  expect(blocks).toHaveLength(5);
  const said = [];
  for (const [index, block] of blocks.entries()) {
    const child = run(await compiled(`readme-${index}.mjs`, block));
    const text = await output(child);
    expect(child.exitCode, text).toBe(0);
    said.push(text);
  }
  expect(said[0]).toBe("state after step 1 1n\n");
  expect(said[1]).toBe("at step 3\n");
  expect(said[2]).toContain("8388608 bytes");
  expect(said[3]).toContain("{ name: 'counter', version: 1 }");
});

test("the lines in the README of the project run as written", async () => {
  const page = await readFile("../../README.md", "utf8");
  const [, block] = /^```typescript\n(.*?)^```$/ms.exec(page) ?? [];
  expect(await output(run(await compiled("project.mjs", block ?? "")))).toBe("state after step 1\n");
});

test("the package can be required from CommonJS, with the same names", async () => {
  const required = createRequire(import.meta.url)("@holdfast/client") as Record<string, unknown>;
  const imported = (await import("@holdfast/client")) as Record<string, unknown>;
  expect(Object.keys(required).sort()).toEqual(Object.keys(imported).sort());
});

test("the example is killed at any time, goes on where it was, and ends with the same result", async () => {
  const source = await readFile("example/job.ts", "utf8");
  // A pause after each step, so that there is time to kill it.
  const slowed = source.replace(
    "console.log(`saved step",
    "await new Promise((go) => setTimeout(go, 100)); console.log(`saved step",
  );
  const path = await compiled("job.mjs", slowed);
  const done: string[] = [];
  for (const lastStep of [2, 5]) {
    const child = run(path, server.target, "killed");
    for await (const line of child.stdout) {
      done.push(String(line));
      if (String(line).includes(`saved step ${lastStep}\n`)) {
        child.kill("SIGKILL");
      }
    }
  }
  const rest = await output(run(path, server.target, "killed"));
  expect(Number(/^resumed after step (\d+)\n/.exec(rest)?.[1])).toBeGreaterThanOrEqual(5);
  expect(rest.trimEnd().endsWith("sum 385")).toBe(true);
  expect(done.join("")).toContain("resumed after step ");
  const client = new Client(server.target);
  const steps = [];
  for await (const { labels } of client.list("examples", { workflowId: "killed" })) {
    steps.push(Number(labels["step"]));
  }
  client.close();
  expect(steps).toEqual([10, 9, 8, 7, 6, 5, 4, 3, 2, 1]);
});
