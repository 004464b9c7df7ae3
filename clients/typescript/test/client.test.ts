import { createHash, randomBytes } from "node:crypto";
import { createReadStream, openAsBlob } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough, Readable } from "node:stream";
import { afterAll, beforeAll, expect, test } from "vitest";

import {
  CheckpointNotFoundError,
  Client,
  ClientClosedError,
  FormatIncompatibleError,
  HoldfastError,
  InvalidRequestError,
  LeaseHeldError,
  Migrations,
  PayloadTooLargeError,
  RequestIdReusedError,
  RevisionConflictError,
  ServerUnavailableError,
  WorkflowCheckpointResumeError,
  WorkflowNotFoundError,
  WriterFencedError,
} from "../src/index.js";
import { Cutter, Server } from "./server.js";

const format = { name: "state", version: 1 };
const LARGE_BYTES = 64 << 20;
const text = (value: string) => new TextEncoder().encode(value);
const read = (data: Uint8Array) => new TextDecoder().decode(data);

let server: Server;
let client: Client;
let folder: string;
let large: Uint8Array;

beforeAll(async () => {
  server = await Server.start();
  client = new Client(server.target);
  folder = await mkdtemp(join(tmpdir(), "holdfast-client-"));
  large = randomBytes(LARGE_BYTES);
});

afterAll(async () => {
  client.close();
  await server.stop();
  await rm(folder, { recursive: true, force: true });
});

async function failure(promise: Promise<unknown>): Promise<HoldfastError> {
  const error: unknown = await promise.then(
    () => undefined,
    (raised: unknown) => raised,
  );
  expect(error).toBeInstanceOf(HoldfastError);
  return error as HoldfastError;
}

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found = [];
  for await (const item of items) {
    found.push(item);
  }
  return found;
}

test("a checkpoint comes back with all that it was saved with", async () => {
  const saved = await client.save(
    "ts",
    "small",
    new Map([
      ["10", text("ten")],
      ["9", text("nine")],
    ]),
    {
      format,
      labels: { step: "1", __proto__x: "2" },
      checkpointId: "first",
      pinned: true,
    },
  );
  const loaded = await client.load("ts", "small");
  expect(loaded.info).toEqual(saved);
  expect([...loaded.parts].map(([name, data]) => [name, read(data)])).toEqual([
    ["10", "ten"],
    ["9", "nine"],
  ]);
  expect(saved).toMatchObject({
    revision: 1n,
    checkpointId: "first",
    labels: { step: "1", __proto__x: "2" },
    pinned: true,
  });
  expect(saved.created.getTime()).toBeGreaterThan(0);
});

test("64 MiB go there and back, from memory, from a file and from a stream, into memory, a file and a stream", async () => {
  const path = join(folder, "large");
  await writeFile(path, large);
  const digest = createHash("sha256").update(large).digest("hex");
  const sources = [large, await openAsBlob(path), createReadStream(path), Readable.toWeb(createReadStream(path))];
  for (const [index, data] of sources.entries()) {
    const seen: number[] = [];
    const saved = await client.save("ts", `large-${index}`, data as Uint8Array, {
      format,
      progress: (done) => seen.push(done),
    });
    expect(Buffer.from(saved.parts[0]?.sha256 ?? []).toString("hex")).toBe(digest);
    expect(seen.at(-1)).toBe(LARGE_BYTES);
  }
  expect(Buffer.compare((await client.load("ts", "large-0")).data, large)).toBe(0);
  const copy = join(folder, "copy");
  expect((await client.loadTo("ts", "large-1", copy)).part.sizeBytes).toBe(BigInt(LARGE_BYTES));
  expect(Buffer.compare(await readFile(copy), large)).toBe(0);
  const stream = new PassThrough();
  const [received] = await Promise.all([collect(stream), client.loadTo("ts", "large-2", stream)]);
  expect(Buffer.compare(Buffer.concat(received as Buffer[]), large)).toBe(0);
});

test("a large save and a large load go on where their connection broke", async () => {
  const cutter = await new Cutter(server.target, [
    { direction: "sent", bytes: 20 << 20 },
    { direction: "received", bytes: 20 << 20 },
  ]).start();
  const through = new Client(cutter.address);
  try {
    const saved = await through.save("ts", "cut", large, { format });
    expect(saved.sizeBytes).toBe(BigInt(LARGE_BYTES));
    const before = cutter.passed.sent;
    expect(before).toBeLessThan(LARGE_BYTES);
    expect(Buffer.compare((await through.load("ts", "cut")).data, large)).toBe(0);
    expect(cutter.cuts).toEqual([]);
    // All bytes once, those in flight at the cut twice, and no others.
    expect(cutter.passed.received).toBeLessThan(LARGE_BYTES - (10 << 20));
  } finally {
    through.close();
    cutter.stop();
  }
});

test("a save whose answer is lost is committed once", async () => {
  const cutter = await new Cutter(server.target, []).start();
  const through = new Client(cutter.address);
  try {
    await through.save("ts", "lost", text("before"), { format });
    cutter.cuts.push({ direction: "sent", bytes: cutter.passed.sent + 1 });
    await through.save("ts", "lost", text("once"), { format });
    expect(await collect(client.list("ts", { workflowId: "lost" }))).toHaveLength(2);
  } finally {
    through.close();
    cutter.stop();
  }
});

test("a call waits for a server that was killed and comes back, within its own time", async () => {
  const other = await Server.start();
  const own = new Client(other.target);
  try {
    await own.save("ts", "killed", text("1"), { format });
    await other.kill();
    const saving = own.save("ts", "killed", text("2"), { format, timeoutMs: 60_000 });
    await other.restart();
    expect((await saving).revision).toBe(2n);
    await other.kill();
    const error = await failure(own.load("ts", "killed", { timeoutMs: 300 }));
    expect(["SERVER_UNAVAILABLE", "DEADLINE_EXCEEDED"]).toContain(error.reason);
    expect(error.traceId).toMatch(/^[0-9a-f]{32}$/);
    const impatient = new Client(other.target, { retry: { burstRetries: 0 } });
    expect(await failure(impatient.load("ts", "killed"))).toBeInstanceOf(ServerUnavailableError);
    impatient.close();
  } finally {
    own.close();
    await other.stop();
  }
});

test("a fenced writer stops, and its handle learns it", async () => {
  const first = client.workflow("ts", "fenced");
  await first.acquireWriter();
  await first.save(text("1"), { format });
  const second = client.workflow("ts", "fenced");
  await second.resume({ format });
  await second.acquireWriter();
  expect(await failure(first.save(text("2"), { format }))).toBeInstanceOf(WriterFencedError);
  expect((await second.save(text("2"), { format })).parentId).toBe(first.checkpointId);
});

test("a handle refuses to save over another writer, and continues after its own saves", async () => {
  const one = client.workflow("ts", "handle");
  await one.save(text("1"), { format });
  const other = client.workflow("ts", "handle");
  await other.resume({ format });
  await other.save(Readable.from([text("2")]), { format });
  expect(await failure(one.save(text("3"), { format }))).toBeInstanceOf(RevisionConflictError);
  const { epoch } = await other.acquireWriter();
  await client.save("ts", "handle", text("4"), { format, epoch, checkpointId: "mine" });
  expect((await other.save(text("5"), { format })).parentId).toBe("mine");
});

test("an epoch above 2^53 is not rounded", async () => {
  const error = await failure(client.save("ts", "int64", text("x"), { format, epoch: 2n ** 53n + 1n }));
  expect(error).toBeInstanceOf(InvalidRequestError);
  expect(error.message).toContain("9007199254740993");
  await expect(client.save("ts", "int64", text("x"), { format, epoch: 2 ** 53 })).rejects.toThrow(InvalidRequestError);
});

test("a lease refuses a second writer and says for how long", async () => {
  await client.acquireWriter("ts", "leased", { leaseMs: 60_000, holder: "first" });
  const error = await failure(client.acquireWriter("ts", "leased"));
  expect(error).toBeInstanceOf(LeaseHeldError);
  expect(error.retryAfterMs).toBeGreaterThan(0);
  expect((await client.acquireWriter("ts", "leased", { force: true })).epoch).toBe(2n);
});

test("lists and histories go over all pages, and can be left early", async () => {
  for (let step = 1; step <= 5; step += 1) {
    const { checkpointId } = await client.save("ts", "listed", text(`${step}`), {
      format,
      labels: { odd: `${step % 2}` },
    });
    await client.attach("ts", "listed", checkpointId, [{ key: "k", data: text(`record ${step}`) }]);
  }
  const revisions = (await collect(client.list("ts", { workflowId: "listed", pageSize: 2 }))).map(
    (each) => each.revision,
  );
  expect(revisions).toEqual([5n, 4n, 3n, 2n, 1n]);
  const odd = await collect(
    client.history("ts", { workflowId: "listed", labels: { odd: "1" }, records: true, pageSize: 1 }),
  );
  expect(odd.map(({ data, records }) => [read(data), records.map((record) => read(record.data))])).toEqual([
    ["5", ["record 5"]],
    ["3", ["record 3"]],
    ["1", ["record 1"]],
  ]);
  for await (const { workflowId } of client.listWorkflows("ts", { prefix: "list" })) {
    expect(workflowId).toBe("listed");
    break;
  }
  expect(await client.prune("ts", "listed", { keepLast: 2 })).toBe(3n);
  expect(await client.copyWorkflow("ts", "listed", "copied")).toBe(2n);
  expect(await client.deleteWorkflows("ts", "copied")).toBe(1n);
  expect(await client.deleteCheckpoints("ts", { workflowId: "listed", labels: { odd: "1" } })).toBe(1n);
});

test.each([
  [{ workflowId: undefined, createdBefore: new Date() }, TypeError],
  [{ workflowId: null, createdBefore: new Date() }, TypeError],
  [{ workflowID: "wf", createdBefore: new Date() }, TypeError],
  [{ workflowId: "wf", createdBefore: undefined, labels: { a: "b" } }, TypeError],
  [{ workflowId: "wf", createdBefore: new Date(), labels: undefined }, TypeError],
  [{ workflowId: "wf", createdBefore: new Date(), labels: { a: undefined } }, TypeError],
  [{ workflowId: "wf", createdBefore: new Date(), labels: {} }, InvalidRequestError],
  [{ workflowId: "wf", createdBefore: new Date(), formats: [] }, InvalidRequestError],
  [{ workflowId: "wf", createdBefore: new Date(), formats: null }, TypeError],
  [{ workflowId: "wf", createdBefore: new Date(NaN), labels: { a: "b" } }, InvalidRequestError],
  [{ workflowId: "wf" }, InvalidRequestError],
  [undefined, TypeError],
])("a deletion whose condition was lost is refused: %o", async (options, expected) => {
  const { checkpointId } = await client.save("ts", "kept", text("x"), { format, labels: { a: "b" } });
  await expect(client.deleteCheckpoints("ts", options as never)).rejects.toThrow(expected);
  expect((await client.load("ts", "kept")).checkpointId).toBe(checkpointId);
});

test("a prune, a load or a list whose argument was lost is refused", async () => {
  for (const options of [{ keepLast: undefined }, { keepLast: null }, { keeplast: 3 }]) {
    await expect(client.prune("ts", "kept", options as never)).rejects.toThrow(TypeError);
  }
  await expect(client.deleteWorkflows("ts", undefined as never)).rejects.toThrow(TypeError);
  await expect(client.deleteWorkflows("ts", "")).rejects.toThrow(InvalidRequestError);
  await expect(client.load("ts", "kept", { checkpointId: null as never })).rejects.toThrow(TypeError);
  await expect(client.resume("ts", "kept", { format: undefined as never })).rejects.toThrow(TypeError);
  expect(() => client.list("ts", { workflowId: null as never })).toThrow(TypeError);
  expect(() => client.list("ts", { labels: new Map([["a", "b"]]) as never })).toThrow(TypeError);
});

test("records of any number go in several calls and come back in the order of their keys", async () => {
  const { checkpointId } = await client.save("ts", "records", text("x"), { format });
  const records = Array.from({ length: 1500 }, (_, index) => ({
    key: `${index}`.padStart(4, "0"),
    data: new Uint8Array(3000),
  }));
  await client.attach("ts", "records", checkpointId, records);
  expect((await client.load("ts", "records", { records: true })).records.map(({ key }) => key)).toEqual(
    records.map(({ key }) => key),
  );
  expect(await failure(client.records("ts", "records", checkpointId, { maxBytes: 1000 }))).toBeInstanceOf(
    PayloadTooLargeError,
  );
});

test("resume migrates older formats, and says what is missing", async () => {
  await client.save("ts", "old", { state: text("v1") }, { format });
  const wanted = { name: "state", version: 3 };
  const append = (what: string) => (parts: ReadonlyMap<string, Uint8Array>) =>
    new Map([...parts].map(([name, data]) => [name, text(read(data) + what)]));
  const migrations = new Migrations().register("state", 1, append(" v2")).register("state", 2, append(" v3"));
  const resumed = await client.resume("ts", "old", { format: wanted, migrations });
  expect([read(resumed.data), resumed.format, resumed.migratedFrom]).toEqual(["v1 v2 v3", wanted, format]);
  const error = await failure(client.resume("ts", "old", { format: wanted }));
  expect(error).toBeInstanceOf(FormatIncompatibleError);
  expect(error).toMatchObject({ lastGood: undefined });
});

test("a deleted and a missing checkpoint are told apart from a workflow that never began", async () => {
  const { checkpointId } = await client.save("ts", "gone", text("x"), { format });
  const { resumable } = await client.validate("ts", "gone");
  expect(resumable).toBe(true);
  expect(await client.delete("ts", "gone", checkpointId, { purge: true })).toBe(2n);
  expect((await failure(client.load("ts", "gone", { checkpointId }))).reason).toBe("CHECKPOINT_DELETED");
  expect(await failure(client.load("ts", "gone", { checkpointId: "other" }))).toBeInstanceOf(CheckpointNotFoundError);
  const error = await failure(client.load("ts", "nobody"));
  expect(error).toBeInstanceOf(WorkflowNotFoundError);
  expect(error).toBeInstanceOf(WorkflowCheckpointResumeError);
  expect(error).toMatchObject({ code: 5, retryable: false });
  expect((await client.validate("ts", "nobody")).findings[0]?.reason).toBe("WORKFLOW_NOT_FOUND");
});

test("a request id that is used again with other content is refused, and with the same content replayed", async () => {
  const first = await client.save("ts", "again", text("x"), { format, requestId: "r1" });
  expect(await client.save("ts", "again", text("x"), { format, requestId: "r1" })).toEqual({
    ...first,
    replayed: true,
  });
  const error = await failure(client.save("ts", "again", text("y"), { format, requestId: "r1" }));
  expect(error).toBeInstanceOf(RequestIdReusedError);
  expect(error.requestId).toBe("r1");
});

test("an aborted call fails with the signal's reason, a call of a closed client with its own error", async () => {
  const controller = new AbortController();
  const reason = new Error("enough");
  const silent = new Client("127.0.0.1:1");
  const waiting = silent.load("ts", "x", { signal: controller.signal });
  controller.abort(reason);
  await expect(waiting).rejects.toBe(reason);
  await expect(client.load("ts", "small", { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
  const running = silent.load("ts", "x");
  silent.close();
  expect(await failure(running)).toBeInstanceOf(ClientClosedError);
  expect(await failure(silent.load("ts", "x"))).toBeInstanceOf(ClientClosedError);
});

test("a payload that is too large for its caller is refused before any of it is loaded", async () => {
  const error = await failure(client.load("ts", "large-0", { maxBytes: 1 << 20 }));
  expect(error).toBeInstanceOf(PayloadTooLargeError);
  const path = join(folder, "refused");
  await failure(client.loadTo("ts", "large-0", path, { maxBytes: 1 }));
  await expect(readFile(path)).rejects.toThrow("ENOENT");
});

test("wrong arguments are refused before anything is sent", async () => {
  const wrong: unknown[] = [
    () => client.save("ts", "x", "text" as never, { format }),
    () => client.save("ts", "x", { part: "text" } as never, { format }),
    () => client.save(1 as never, "x", text(""), { format }),
    () => client.save("ts", "x", text(""), {} as never),
    () => client.load("ts", "x", { timeoutMs: "1" as never }),
    () => client.attach("ts", "x", "c", [{ key: "k", data: "text" as never }]),
  ];
  for (const call of wrong as (() => Promise<unknown>)[]) {
    await expect(call()).rejects.toThrow(TypeError);
  }
  const outOfRange = [
    () => client.save("ts", "\ud800", text(""), { format }),
    () => client.save("ts", "x", text(""), { format: { name: "state", version: 0 } }),
    () => client.load("ts", "x", { timeoutMs: 0 }),
    () => client.save("ts", "x", text(""), { format, expectedRevision: -1n }),
  ];
  for (const call of outOfRange) {
    expect(await failure(call())).toBeInstanceOf(InvalidRequestError);
  }
  for (const target of ["", "host", "host:0", "http://host:1", "host:1 "]) {
    expect(() => new Client(target)).toThrow(InvalidRequestError);
  }
  expect(() => new Client("example.com:1", { token: "secret" })).toThrow("plaintext");
  expect(() => new Client("127.0.0.1:1", { token: "not a token" })).toThrow(InvalidRequestError);
});
