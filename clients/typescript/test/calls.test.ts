import { SpanStatusCode, context, trace } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from "@opentelemetry/sdk-trace-base";
import { status } from "@grpc/grpc-js";
import { createHash } from "node:crypto";
import { afterEach, expect, test } from "vitest";

import { crc32c } from "../src/crc32c.js";
import {
  CheckpointCorruptedError,
  Client,
  type ClientOptions,
  DeadlineExceededError,
  Head,
  HoldfastError,
  InternalError,
  OverloadedError,
  RolledBackError,
  ServerUnavailableError,
  UnauthenticatedError,
} from "../src/index.js";
import { ofReason } from "../src/reasons.js";
import { RetryBucket, pauseMs, retryPolicy } from "../src/retry.js";
import { type Answer, Scripted, refusal } from "./scripted.js";

const format = { name: "state", version: 1 };
const data = new TextEncoder().encode("state");
const sha256 = createHash("sha256").update(data).digest();
const checkpoint = {
  namespace: "ns",
  workflowId: "wf",
  checkpointId: "cp",
  revision: 1n,
  format,
  parts: [{ name: "", sizeBytes: 5n, sha256, crc32c: crc32c(data) }],
  sizeBytes: 5n,
};
const saved: Answer = { response: { checkpoint } };
const opened: { stop(): void }[] = [];

afterEach(() => {
  opened.splice(0).forEach((each) => {
    each.stop();
  });
});

async function scripted(answers: Answer[], options: ClientOptions = {}): Promise<[Client, Scripted]> {
  const server = await new Scripted(answers).start();
  const client = new Client(server.target, { retry: { initialBackoffMs: 1 }, ...options });
  opened.push(server, {
    stop: () => {
      client.close();
    },
  });
  return [client, server];
}

async function failure(promise: Promise<unknown>): Promise<HoldfastError> {
  return promise.then(
    () => expect.fail("no error"),
    (error: unknown) => error as HoldfastError,
  );
}

test("a retry is the same request with the number of the attempt, the time since the first, and the same trace", async () => {
  const unavailable = refusal(status.UNAVAILABLE, "COMMIT_UNKNOWN");
  const [client, { received }] = await scripted([unavailable, { code: status.UNAVAILABLE }, saved]);
  await client.save("ns", "wf", data, { format, timeoutMs: 20_000 });
  const headers = received.map(
    ({ request }) =>
      request["header"] as { requestId: string; attempt: { number: number; elapsed: { nanos: number } } },
  );
  expect(headers.map(({ attempt }) => attempt.number)).toEqual([1, 2, 3]);
  expect(headers[1]?.attempt.elapsed.nanos).toBeGreaterThan(0);
  expect(new Set(headers.map(({ requestId }) => requestId)).size).toBe(1);
  const traces = received.map(
    ({ metadata }) => /^00-([0-9a-f]{32})-[0-9a-f]{16}-01$/.exec(String(metadata.get("traceparent")[0]))?.[1],
  );
  expect(new Set(traces).size).toBe(1);
  expect(traces[0]).toBeDefined();
  for (const { deadlineMs } of received) {
    expect(deadlineMs).toBeLessThanOrEqual(12_100);
  }
});

test("a reason that cannot be retried is not, and an unknown one follows its status", async () => {
  const [client, { received }] = await scripted([
    refusal(status.FAILED_PRECONDITION, "WRITER_FENCED"),
    refusal(status.DATA_LOSS, "NEWER_REASON", { metadata: { __proto__: "", checkpoint_id: "cp" } }),
    refusal(status.RESOURCE_EXHAUSTED, "NEWER_QUOTA"),
    { code: status.INTERNAL },
  ]);
  expect((await failure(client.save("ns", "wf", data, { format }))).reason).toBe("WRITER_FENCED");
  const unknown = await failure(client.load("ns", "wf"));
  expect(unknown).toBeInstanceOf(CheckpointCorruptedError);
  expect(unknown).toMatchObject({ reason: "NEWER_REASON", message: "the message", metadata: { checkpoint_id: "cp" } });
  expect((await failure(client.load("ns", "wf"))).retryable).toBe(false);
  expect(await failure(client.load("ns", "wf"))).toBeInstanceOf(InternalError);
  expect(received).toHaveLength(4);
});

test("a call gives up at once if the server asks to wait for longer than its time", async () => {
  const busy = refusal(status.RESOURCE_EXHAUSTED, "OVERLOADED", { retryMs: 25_000 });
  const [client, { received }] = await scripted([busy]);
  const error = await failure(client.save("ns", "wf", data, { format, timeoutMs: 20_000 }));
  expect(error).toBeInstanceOf(OverloadedError);
  expect(error.retryAfterMs).toBe(25_000);
  expect(received).toHaveLength(1);
});

test("pauses have full jitter, double up to a limit, and begin after the delay of the server", () => {
  const policy = retryPolicy({ initialBackoffMs: 100, maxBackoffMs: 400 });
  const error = (retryAfterMs?: number) => ofReason("OVERLOADED", "", { retryAfterMs });
  for (const [attempt, bound] of [
    [1, 100],
    [2, 200],
    [9, 400],
    [5000, 400],
  ] as const) {
    const pauses = Array.from({ length: 1000 }, () => pauseMs(policy, attempt, error()));
    expect(Math.max(...pauses)).toBeLessThanOrEqual(bound);
    expect(Math.max(...pauses)).toBeGreaterThan(bound / 2);
    expect(Math.min(...pauses)).toBeLessThan(bound / 2);
  }
  expect(pauseMs(policy, 1, error(1000))).toBeGreaterThanOrEqual(1000);
  expect(pauseMs(policy, 1, error(1e9))).toBeLessThanOrEqual(30_100);
});

test("a retry takes a token, which comes back with time and with successes", () => {
  let now = 0;
  const bucket = new RetryBucket(retryPolicy({ burstRetries: 2, retriesPerSecond: 10 }), () => now);
  expect([bucket.take(0), bucket.take(0), bucket.take(99)]).toEqual([0, 0, undefined]);
  expect(bucket.take(1000)).toBe(100);
  now = 200;
  expect(bucket.take(0)).toBe(0);
  for (let index = 0; index < 10; index += 1) {
    bucket.succeeded();
  }
  expect(bucket.take(1)).toBeCloseTo(0);
});

test("a client that has used up its retries says so", async () => {
  const down: Answer = { code: status.UNAVAILABLE };
  const [client, { received }] = await scripted([down, down, down, down, down], {
    retry: { initialBackoffMs: 1, burstRetries: 2, retriesPerSecond: 0 },
  });
  const error = await failure(client.load("ns", "wf"));
  expect(error).toBeInstanceOf(ServerUnavailableError);
  expect(error.message).toContain("2 in a row");
  expect(error.metadata["retries"]).toBe("off");
  expect(received).toHaveLength(3);
});

test("a call ends with its deadline and says why an earlier attempt failed", async () => {
  const [client] = await scripted([{ code: status.UNAVAILABLE }, "silence"]);
  const error = await failure(client.load("ns", "wf", { timeoutMs: 3000 }));
  expect(error).toBeInstanceOf(DeadlineExceededError);
  expect(error.metadata["previous_reason"]).toBe("SERVER_UNAVAILABLE");
});

test("a refused token is renewed once, and a token that was given is not", async () => {
  const refused = refusal(status.UNAUTHENTICATED, "UNAUTHENTICATED");
  const tokens = ["one", "two", "three"];
  const [client, { received }] = await scripted([refused, saved, refused, refused], {
    token: () => tokens.shift() ?? "none",
  });
  await client.save("ns", "wf", data, { format });
  expect(received.map(({ metadata }) => metadata.get("authorization")[0])).toEqual(["Bearer one", "Bearer two"]);
  expect(await failure(client.load("ns", "wf"))).toBeInstanceOf(UnauthenticatedError);
  const failing = await scripted([], { token: () => Promise.reject(new TypeError("secret")) });
  const error = await failure(failing[0].load("ns", "wf"));
  expect([error.reason, error.message.includes("secret")]).toEqual(["UNAUTHENTICATED", false]);
});

test("64-bit numbers come and go without loss", async () => {
  const epoch = 2n ** 53n + 1n;
  const [client, { received }] = await scripted([{ response: { epoch, revision: epoch } }, saved]);
  const handle = client.workflow("ns", "wf");
  expect(await handle.acquireWriter()).toEqual({ epoch, revision: epoch, leaseExpires: undefined });
  await handle.save(data, { format });
  expect(received[1]?.request["header"]).toMatchObject({ epoch, expectedRevision: epoch });
});

test("an answer about another checkpoint, or one that contradicts itself, is refused", async () => {
  const load = (changes: object) => ({
    response: { checkpoint: { ...checkpoint, ...changes }, parts: [{ name: "", data }], payloadIncluded: true },
  });
  const [client] = await scripted([
    load({ workflowId: "other" }),
    load({ sizeBytes: 6n }),
    load({ parts: [{ ...checkpoint.parts[0], sha256: Buffer.alloc(32) }] }),
    { response: { ...load({}).response, fellBack: true } },
    { response: { epoch: 0n, revision: 1n } },
    { response: { checkpoint: { ...checkpoint, format: { name: "state", version: 2 } } } },
  ]);
  expect(await failure(client.load("ns", "wf"))).toBeInstanceOf(InternalError);
  expect(await failure(client.load("ns", "wf"))).toBeInstanceOf(CheckpointCorruptedError);
  expect(await failure(client.load("ns", "wf"))).toBeInstanceOf(CheckpointCorruptedError);
  expect(await failure(client.load("ns", "wf"))).toBeInstanceOf(InternalError);
  expect(await failure(client.acquireWriter("ns", "wf"))).toBeInstanceOf(InternalError);
  expect(await failure(client.save("ns", "wf", data, { format }))).toBeInstanceOf(InternalError);
});

test("a stream without its finish is continued by ranges, and wrong bytes are never returned", async () => {
  const first = { response: { checkpoint, payloadIncluded: false } };
  const header = { message: { $case: "header", value: { checkpoint } } };
  const chunk = (offset: number, piece: Uint8Array) => ({
    message: { $case: "chunk", value: { part: "", offset: BigInt(offset), data: piece, crc32c: crc32c(piece) } },
  });
  const finish = (sizeBytes: bigint) => ({ message: { $case: "finish", value: { sizeBytes } } });
  const [client, { received }] = await scripted([
    first,
    { messages: [header, chunk(0, data.subarray(0, 2))] },
    { messages: [header, chunk(2, data.subarray(2)), finish(3n)] },
    first,
    { messages: [header, chunk(0, new TextEncoder().encode("stole")), finish(5n)] },
  ]);
  expect((await client.load("ns", "wf")).data).toEqual(data);
  expect(received[2]?.request).toMatchObject({ checkpointId: "cp", ranges: [{ part: "", offset: 2n, length: 0n }] });
  expect(await failure(client.load("ns", "wf"))).toBeInstanceOf(CheckpointCorruptedError);
});

test("a log whose head is older than it was seen is noticed, also by a later client", async () => {
  const head = (revision: bigint, byte: number) => ({ revision, digest: Buffer.alloc(32, byte) });
  const older = refusal(status.NOT_FOUND, "WORKFLOW_NOT_FOUND", { metadata: { head_revision: "0", head_digest: "" } });
  const [client] = await scripted([
    { response: { checkpoint, head: head(5n, 1) } },
    { response: { checkpoint, replayed: true, head: head(2n, 2) } },
    { response: { resumable: true, head: head(5n, 3) } },
    older,
    { response: { checkpoint, head: head(4n, 4) } },
  ]);
  await client.save("ns", "wf", data, { format });
  await client.save("ns", "wf", data, { format });
  expect(await failure(client.validate("ns", "wf"))).toBeInstanceOf(RolledBackError);
  const error = await failure(client.load("ns", "wf"));
  expect(error).toBeInstanceOf(RolledBackError);
  expect(error.metadata).toMatchObject({ seen_revision: "5", head_revision: "0" });
  const seen = String(client.head("ns", "wf"));
  expect(seen).toBe(`5:${"01".repeat(32)}`);
  client.forgetHead("ns", "wf");
  await client.save("ns", "wf", data, { format });
  const [later] = await scripted([{ response: { checkpoint, head: head(4n, 4) } }]);
  expect(await failure(later.load("ns", "wf", { notBefore: Head.parse(seen) }))).toBeInstanceOf(RolledBackError);
});

test("a token that is refused as expired at once, again and again, is replaced within the retry budget", async () => {
  const expired = refusal(status.UNAUTHENTICATED, "UNAUTHENTICATED", { metadata: { accepted: "1" } });
  const [client, { received }] = await scripted(Array<Answer>(100).fill(expired), {
    token: () => "token",
    retry: { initialBackoffMs: 1, burstRetries: 3, retriesPerSecond: 0 },
  });
  expect(await failure(client.load("ns", "wf"))).toBeInstanceOf(UnauthenticatedError);
  // The first, its replacement, and three retries.
  expect(received).toHaveLength(5);
});

test("a page token that comes again ends the list", async () => {
  const page = { response: { nextPageToken: "again" } };
  const [client] = await scripted([page, page, page]);
  const list = client.list("ns")[Symbol.asyncIterator]();
  expect(await failure(list.next())).toBeInstanceOf(InternalError);
});

test("a traced program has a span for the call and one for each attempt, and passes its trace on", async () => {
  const exporter = new InMemorySpanExporter();
  trace.setGlobalTracerProvider(new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }));
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  const [client, { received }] = await scripted([refusal(status.UNAVAILABLE, "SHUTTING_DOWN"), saved]);
  const parent = trace.getTracer("test").startSpan("run");
  await context.with(trace.setSpan(context.active(), parent), () => client.save("ns", "wf", data, { format }));
  const spans = exporter.getFinishedSpans();
  expect(spans.map(({ name }) => name.replace(/^.*\//, ""))).toEqual(["Save attempt", "Save attempt", "Save"]);
  expect(new Set(spans.map((span) => span.spanContext().traceId))).toEqual(new Set([parent.spanContext().traceId]));
  expect(spans[0]?.status.code).toBe(SpanStatusCode.ERROR);
  expect(String(received[1]?.metadata.get("traceparent")[0])).toContain(spans[1]?.spanContext().spanId);
});

test("crc32c is that of Castagnoli, for any length", () => {
  expect(crc32c(new TextEncoder().encode("123456789"))).toBe(0xe3069283);
  expect(crc32c(new Uint8Array(32))).toBe(0x8a9136aa);
  expect(crc32c(new Uint8Array())).toBe(0);
});
