import { CheckpointDeletedError, Client, FormatIncompatibleError } from "@holdfast/client";
import { emptyCheckpoint, uuid6 } from "@langchain/langgraph-checkpoint";
import { transform } from "esbuild";
import { type ChildProcessByStdio, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import type { Readable } from "node:stream";
import { afterAll, beforeAll, expect, test } from "vitest";

import { Server } from "../../typescript/test/server.js";
import { HoldfastSaver } from "../src/index.js";
import { type Place, decoded, encoded, placeOf, placePart, workflowOf } from "../src/names.js";
import { pack, unpack } from "../src/writes.js";

// Inside of the package, so that it finds itself by its name.
const FOLDER = resolve("build/pages");
const metadata = { source: "loop" as const, step: 1, parents: {} };
let server: Server;
let client: Client;

beforeAll(async () => {
  server = await Server.start();
  client = new Client(server.target);
  await mkdir(FOLDER, { recursive: true });
});

afterAll(async () => {
  client.close();
  await server.stop();
  await rm(FOLDER, { recursive: true, force: true });
});

function saverOf(namespace: string): HoldfastSaver {
  return new HoldfastSaver(client, { namespace });
}

function thread(thread_id: string, checkpoint_id?: string) {
  return { configurable: { thread_id, checkpoint_ns: "", ...(checkpoint_id ? { checkpoint_id } : {}) } };
}

function checkpointOf(id: string) {
  return { ...emptyCheckpoint(), id, channel_values: { state: id }, channel_versions: { state: 1 } };
}

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

test("the latest checkpoint is the one with the largest id, whatever the order of saves and savers", async () => {
  const namespace = randomUUID();
  const [first, second, third] = [uuid6(1), uuid6(2), uuid6(3)] as [string, string, string];
  for (const [id, saver] of [
    [second, saverOf(namespace)],
    [first, saverOf(namespace)],
    [third, saverOf(namespace)],
    [first, saverOf(namespace)],
  ] as const) {
    await saver.put(thread("t"), checkpointOf(id), metadata, { state: 1 });
  }
  const saver = saverOf(namespace);
  expect((await saver.getTuple(thread("t")))?.checkpoint.id).toBe(third);
  const listed = [];
  for await (const { checkpoint } of saver.list(thread("t"))) {
    listed.push(checkpoint.id);
  }
  expect(listed).toEqual([third, second, first]);
});

test("a run that goes on after its thread was deleted is refused, and a new one begins", async () => {
  const namespace = randomUUID();
  const saver = saverOf(namespace);
  const first = checkpointOf(uuid6(1));
  const config = await saver.put(thread("t"), first, metadata, { state: 1 });
  await saverOf(namespace).deleteThread("t");
  await expect(saver.put(config, checkpointOf(uuid6(2)), metadata, { state: 2 })).rejects.toThrow(
    CheckpointDeletedError,
  );
  expect(await saver.getTuple(thread("t"))).toBeUndefined();
  await saver.put(thread("t"), checkpointOf(uuid6(3)), metadata, { state: 1 });
  expect(await saver.getTuple(thread("t"))).toBeDefined();
});

test("a thread of LangGraph for Python is refused before anything is read or written", async () => {
  const namespace = randomUUID();
  await client.save(namespace, "t", new Uint8Array(3), { format: { name: "langgraph-checkpoint", version: 1 } });
  const saver = saverOf(namespace);
  await expect(saver.getTuple(thread("t"))).rejects.toThrow(FormatIncompatibleError);
  await expect(saver.put(thread("t"), checkpointOf(uuid6(1)), metadata, {})).rejects.toThrow("another adapter");
});

test("threads and namespaces have any names, and are deleted together", async () => {
  const saver = saverOf(randomUUID());
  const names = ["t", "t#x", "", "..", "a/b c%23", "ü🙂", "x".repeat(500)];
  for (const thread_id of names) {
    for (const checkpoint_ns of ["", "child:1|grandchild", "y".repeat(500)]) {
      await saver.put({ configurable: { thread_id, checkpoint_ns } }, checkpointOf(uuid6(1)), metadata, { state: 1 });
    }
  }
  const seen: (string | undefined)[] = [];
  for await (const { config } of saver.list({})) {
    seen.push(config.configurable?.["thread_id"] as string);
  }
  expect(seen.sort()).toEqual(names.flatMap((name) => [name, name, name]).sort());
  await saver.deleteThread("t");
  for (const thread_id of names) {
    const left = [];
    for await (const each of saver.list({ configurable: { thread_id } })) {
      left.push(each);
    }
    expect(left).toHaveLength(thread_id === "t" ? 0 : 3);
  }
});

test("names come back from ids, and are those of the adapter for Python", () => {
  const place: Place = { threadId: "a/ü", checkpointNs: "x#." };
  expect(workflowOf(place)).toBe("a%2F%C3%BC#x%23.");
  expect(placeOf(workflowOf(place))).toEqual(place);
  const long: Place = { threadId: "x".repeat(81), checkpointNs: "" };
  expect(workflowOf(long)).toBe("%!4d1f7bb876c6aae013f06a7430b8c6545ff30d8f9252838eb18b6357c1a2ba13");
  expect(placeOf(workflowOf(long), placePart(long))).toEqual(long);
  expect(placeOf(workflowOf(long))).toBeUndefined();
  for (const text of ["", ".", "..", "%", "a b", "🙂", "!$&'()*+,:;=@|^ ~"]) {
    expect(decoded(encoded(text))).toBe(text);
  }
});

test("writes of any size come back whole, in their order", async () => {
  const saver = saverOf(randomUUID());
  const checkpoint = checkpointOf(uuid6(1));
  const config = await saver.put(thread("t"), checkpoint, metadata, { state: 1 });
  const large = "x".repeat(5 << 20);
  await saver.putWrites(
    config,
    [
      ["a", large],
      ["b", 2],
    ],
    "task-2",
    "~__pregel_pull, a",
  );
  await saver.putWrites(
    config,
    [
      ["a", 1],
      ["__error__", "failed"],
    ],
    "task-1",
    "~__pregel_pull, b",
  );
  // The first writes of a task stay, except those to special channels.
  await saver.putWrites(
    config,
    [
      ["a", 9],
      ["__error__", "failed again"],
    ],
    "task-1",
    "~__pregel_pull, b",
  );
  expect((await saver.getTuple(config))?.pendingWrites).toEqual([
    ["task-2", "a", large],
    ["task-2", "b", 2],
    ["task-1", "__error__", "failed again"],
    ["task-1", "a", 1],
  ]);
  const write = { taskId: "t", taskPath: "", index: 0, channel: "c", kind: "json", data: Buffer.alloc(3 << 20, "ab") };
  const { chunks, final } = pack([write]);
  const [unpacked] = unpack([...chunks, ...final]);
  expect({ ...unpacked, data: 0 }).toEqual({ ...write, data: 0 });
  expect(unpacked?.data.length === write.data.length && write.data.equals(unpacked.data)).toBe(true);
  expect(() => unpack([...chunks.slice(1), ...final])).toThrow("missing or damaged");
});

test("a graph that is killed at any time goes on after its last finished step", async () => {
  const source = await readFile("example/graph.ts", "utf8");
  const slowed = source
    .replace("({ squares }) => {", "async ({ squares }) => {")
    .replace("console.log(`step", "await new Promise((go) => setTimeout(go, 100)); console.log(`step");
  const path = await compiled("graph.mjs", slowed);
  const steps: number[] = [];
  for (const last of [2, 4]) {
    const child = run(path, server.target, "killed");
    for await (const text of child.stdout) {
      for (const [, step] of String(text).matchAll(/^step (\d+)$/gm)) {
        steps.push(Number(step));
      }
      if (steps.includes(last)) {
        child.kill("SIGKILL");
      }
    }
  }
  const rest = await output(run(path, server.target, "killed"));
  expect(rest.trimEnd().split("\n").at(-1)).toBe("squares 1 4 9 16 25 36");
  steps.push(...[...rest.matchAll(/^step (\d+)$/gm)].map(([, step]) => Number(step)));
  // A step that was not finished when the process was killed runs again; no finished one does.
  expect([...new Set(steps)]).toEqual([1, 2, 3, 4, 5, 6]);
  expect(steps.length).toBeLessThanOrEqual(8);
});

test("the code of the README runs as written", async () => {
  const page = await readFile("README.md", "utf8");
  const blocks = [...page.matchAll(/^```ts\n(.*?)^```$/gms)].map((found) => found[1] as string);
  expect(blocks).toHaveLength(1);
  const child = run(await compiled("readme.mjs", blocks[0] as string));
  expect([await output(child), child.exitCode]).toEqual(["[ 'hello', 'hello again' ]\n", 0]);
});
