import { status } from "@grpc/grpc-js";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { Duplex } from "node:stream";
import { afterEach, expect, test } from "vitest";

import { crc32c } from "../src/crc32c.js";
import { type PipelineCall, PipelineRequest } from "../src/generated/holdfast/v1/checkpoint_service.js";
import { Client, DeadlineExceededError, InternalError } from "../src/index.js";
import { PipelinedCall } from "../src/pipeline.js";
import { FIELDS, type PipelineStream, Pipelines } from "../src/pipelines.js";
import { type Answer, Scripted, type ServedPipeline } from "./scripted.js";

const format = { name: "state", version: 1 };
const data = new TextEncoder().encode("state");
const sha256 = createHash("sha256").update(data).digest();
const opened: { stop(): void }[] = [];

afterEach(() => {
  opened.splice(0).forEach((each) => {
    each.stop();
  });
});

async function started(serve: (pipeline: ServedPipeline) => void, answers: Answer[] = []): Promise<[Client, Scripted]> {
  const server = await new Scripted(answers, serve).start();
  const client = new Client(server.target, { retry: { initialBackoffMs: 1 } });
  opened.push(server, {
    stop: () => {
      client.close();
    },
  });
  return [client, server];
}

/** Return the answer to a call of Save. */
function savedAs({ callId, request }: PipelineCall): object {
  const workflowId = request?.$case === "save" ? request.value.header?.workflowId : "";
  return { callId, outcome: { $case: "save", value: { checkpoint: checkpointOf(workflowId ?? "") } } };
}

function checkpointOf(workflowId: string, bytes: Uint8Array = data): object {
  return {
    namespace: "ns",
    workflowId,
    checkpointId: "cp",
    revision: 1n,
    format,
    parts: [{ name: "", sizeBytes: BigInt(bytes.length), sha256, crc32c: crc32c(bytes) }],
    sizeBytes: BigInt(bytes.length),
  };
}

/** Run a check again and again until it passes. */
async function until(isReached: () => boolean): Promise<void> {
  await expect.poll(isReached, { timeout: 60_000 }).toBe(true);
}

test("calls that are made together share messages, once the server has stated how many it takes", async () => {
  const messages: number[] = [];
  const [client] = await started((pipeline) => {
    const limits = { calls: 100, bytes: 1n << 20n };
    pipeline.on("data", ({ calls }: { calls: PipelineCall[] }) => {
      messages.push(calls.length);
      pipeline.write({ limits: messages.length === 1 ? limits : undefined, answers: calls.map(savedAs).reverse() });
    });
  });
  const ids = Array.from({ length: 40 }, (_, index) => `wf-${index}`);
  const saved = await Promise.all(ids.map((id) => client.save("ns", id, data, { format })));
  expect(saved.map(({ workflowId }) => workflowId)).toEqual(ids);
  expect(messages.reduce((sum, count) => sum + count)).toBe(40);
  expect(messages[0]).toBeLessThanOrEqual(8);
  expect(messages.length).toBeLessThan(20);
});

test("a call that is aborted or too late ends alone, and is cancelled on the server", async () => {
  const cancelled: bigint[] = [];
  const [client] = await started((pipeline) => {
    pipeline.on("data", ({ calls, cancelledCallIds }: { calls: PipelineCall[]; cancelledCallIds: bigint[] }) => {
      cancelled.push(...cancelledCallIds);
      const isSlow = ({ request }: PipelineCall) =>
        request?.$case === "save" && request.value.header?.workflowId === "slow";
      pipeline.write({
        limits: { calls: 100, bytes: 1n << 20n },
        answers: calls.filter((each) => !isSlow(each)).map(savedAs),
      });
    });
  });
  await client.save("ns", "fast", data, { format });
  const abort = new AbortController();
  const aborted = client.save("ns", "slow", data, { format, signal: abort.signal });
  const late = client.save("ns", "slow", data, { format, timeoutMs: 1_000 });
  const outcomes = Promise.allSettled([aborted, late]);
  await client.save("ns", "fast", data, { format });
  abort.abort(new Error("enough"));
  const [first, second] = await outcomes;
  expect(first).toMatchObject({ reason: { message: "enough" } });
  expect(second).toMatchObject({ reason: expect.any(DeadlineExceededError) as unknown });
  await until(() => cancelled.length === 2);
  await client.save("ns", "fast", data, { format });
});

test("a pipeline without calls is closed, and the next call opens another", async () => {
  const pipelines = { opened: 0, ended: 0 };
  const [client] = await started((pipeline) => {
    pipelines.opened += 1;
    pipeline.on("data", ({ calls }: { calls: PipelineCall[] }) => {
      pipeline.write({ answers: calls.map(savedAs) });
    });
    pipeline.on("end", () => {
      pipelines.ended += 1;
      pipeline.end();
    });
  });
  await client.save("ns", "wf", data, { format });
  await until(() => pipelines.ended === 1);
  await client.save("ns", "wf", data, { format });
  expect(pipelines.opened).toBe(2);
});

test("a large request goes by a call of its own", async () => {
  const large = new Uint8Array(300 << 10);
  const digest = createHash("sha256").update(large).digest();
  const parts = [{ name: "", sizeBytes: BigInt(large.length), sha256: digest, crc32c: crc32c(large) }];
  const checkpoint = { ...checkpointOf("wf", large), parts };
  const [client, { received }] = await started(() => expect.fail("a pipeline"), [{ response: { checkpoint } }]);
  await client.save("ns", "wf", large, { format });
  expect(received.map(({ method }) => method)).toEqual(["Save"]);
});

test("an answer of another method, or one that cannot be read, fails its call", async () => {
  const [client] = await started((pipeline) => {
    let count = 0;
    pipeline.on("data", ({ calls }: { calls: PipelineCall[] }) => {
      const outcomes = [
        { $case: "delete", value: {} },
        { $case: "status", value: new Uint8Array([0xff]) },
      ];
      pipeline.write({ answers: calls.map(({ callId }) => ({ callId, outcome: outcomes[count++] })) });
    });
  });
  for (const id of ["a", "b"]) {
    await expect(client.save("ns", id, data, { format })).rejects.toBeInstanceOf(InternalError);
  }
});

test("a pipeline that a proxy refuses is not tried again at once", async () => {
  let opened = 0;
  const saves: Answer[] = ["a", "b"].map((id) => ({ response: { checkpoint: checkpointOf(id) } }));
  const [client, { received }] = await started((pipeline) => {
    opened += 1;
    pipeline.emit("error", { code: status.PERMISSION_DENIED, details: "no streams here" });
  }, saves);
  await client.save("ns", "a", data, { format });
  await client.save("ns", "b", data, { format });
  expect(opened).toBe(1);
  expect(received).toHaveLength(2);
});

test("a pipeline carries each call that the proto file lists, in its field", () => {
  const proto = readFileSync(new URL("../../../proto/holdfast/v1/checkpoint_service.proto", import.meta.url), "utf8");
  const [request = ""] = /(?<=\nmessage PipelineCall \{[^}]*oneof request \{)[^}]*/.exec(proto) ?? [];
  const fields = [...request.matchAll(/^ *(\w+)Request \w+ = (\d+);$/gm)].map(
    ([, method, number]) => [`/holdfast.v1.CheckpointService/${method}`, Number(number)] as const,
  );
  expect(fields.length).toBeGreaterThan(15);
  expect(new Map(fields)).toEqual(FIELDS);
});

test("a call does not join a pipeline of another token, which unsent calls could open", async () => {
  const streams: { token: unknown; ids: string[] }[] = [];
  const pipelines = new Pipelines((metadata) => {
    const opened = { token: metadata.get("authorization")[0], ids: [] as string[] };
    streams.push(opened);
    const stream = new Duplex({
      objectMode: true,
      read: () => undefined,
      write(message: Uint8Array, _encoding, done) {
        const { calls } = PipelineRequest.decode(message);
        opened.ids.push(...calls.map(({ traceparent }) => traceparent));
        done();
      },
    });
    return Object.assign(stream, { cancel: () => stream.destroy() }) as unknown as PipelineStream;
  });
  const outcomes: Record<string, unknown> = {};
  const add = (name: string, token: string) => {
    const headers = { traceparent: name, tracestate: "" };
    const call = new PipelinedCall(11, new Uint8Array(), Date.now() + 60_000, headers, (outcome) => {
      outcomes[name] = outcome;
    });
    expect(pipelines.add(call, token)).toBe(true);
  };
  add("first", "old");
  await until(() => streams[0]?.ids.length === 1);
  add("waiting", "old");
  add("late", "new");
  await until(() => streams[1]?.ids.length === 1);
  expect(streams).toEqual([
    { token: "old", ids: ["first"] },
    { token: "new", ids: ["late"] },
  ]);
  expect(outcomes).toEqual({ waiting: "refused" });
  pipelines.close();
});
