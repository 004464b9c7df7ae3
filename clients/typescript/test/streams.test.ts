import { once } from "node:events";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough, Readable, Writable } from "node:stream";
import { afterAll, beforeAll, expect, test, vi } from "vitest";

import { Client, ClientClosedError, DeadlineExceededError } from "../src/index.js";
import { Server } from "./server.js";

const format = { name: "state", version: 1 };
const enough = new Error("enough");
let server: Server;
let client: Client;

beforeAll(async () => {
  server = await Server.start();
  client = new Client(server.target);
  await client.save("ts", "small", new Uint8Array(10), { format });
  await client.save("ts", "large", new Uint8Array(6 << 20), { format });
});

afterAll(async () => {
  client.close();
  await server.stop();
});

/** A stream of Node.js or of the Web that never takes what is written, and a promise of its first write. */
const stuck: Record<string, () => { target: Writable | WritableStream<Uint8Array>; written: Promise<unknown> }> = {
  node: () => {
    const { promise: written, resolve } = deferred();
    return { target: new Writable({ highWaterMark: 1, write: resolve }), written };
  },
  web: () => {
    const { promise: written, resolve } = deferred();
    const write = () => {
      resolve();
      return new Promise<void>(() => undefined);
    };
    return { target: new WritableStream({ write }), written };
  },
};

function deferred(): { promise: Promise<void>; resolve: () => void } {
  let resolve = () => {};
  const promise = new Promise<void>((done) => (resolve = done));
  return { promise, resolve };
}

for (const kind of Object.keys(stuck)) {
  const make = stuck[kind] as (typeof stuck)[string];
  for (const workflow of ["small", "large"]) {
    test(`a load of a ${workflow} part into a ${kind} stream that takes nothing ends with its time`, async () => {
      const load = client.loadTo("ts", workflow, make().target, { timeoutMs: 500 });
      await expect(load).rejects.toThrow(DeadlineExceededError);
    });

    test(`a load of a ${workflow} part into a ${kind} stream that takes nothing ends with its signal`, async () => {
      const { target, written } = make();
      const abort = new AbortController();
      const load = client.loadTo("ts", workflow, target, { signal: abort.signal });
      void written.then(() => {
        abort.abort(enough);
      });
      await expect(load).rejects.toBe(enough);
    });

    test(`a load of a ${workflow} part into a ${kind} stream that takes nothing ends with its client`, async () => {
      const { target, written } = make();
      const closing = new Client(server.target);
      const load = closing.loadTo("ts", workflow, target);
      void written.then(() => {
        closing.close();
      });
      await expect(load).rejects.toThrow(ClientClosedError);
    });
  }
}

test("a stream that was destroyed or ended is refused before anything is loaded", async () => {
  const destroyed = new PassThrough().destroy();
  const ended = new PassThrough().resume().end();
  await once(ended, "finish");
  for (const target of [destroyed, ended]) {
    await expect(client.loadTo("ts", "small", target)).rejects.toThrow(TypeError);
  }
});

test("a stream that is destroyed during a load fails it", async () => {
  for (const workflow of ["small", "large"]) {
    const target = new Writable({
      highWaterMark: 1,
      write: () => {
        target.destroy();
      },
    });
    await expect(client.loadTo("ts", workflow, target)).rejects.toThrow("Premature close");
  }
});

test("a save from a stream that gives nothing more ends with its signal or its client, and leaves no file", async () => {
  const folder = await mkdtemp(join(tmpdir(), "holdfast-streams-"));
  vi.stubEnv("TMPDIR", folder);
  for (const save of [
    (by: Client, data: Readable, signal: AbortSignal) => by.save("ts", "source", data, { format, signal }),
    (by: Client, data: Readable, signal: AbortSignal) => by.workflow("ts", "source").save(data, { format, signal }),
  ]) {
    for (const isClosed of [false, true]) {
      const ending = new Client(server.target);
      const abort = new AbortController();
      let pieces = 0;
      const data = new Readable({
        read() {
          if (pieces++ < 3) {
            this.push(new Uint8Array(1 << 20));
          } else if (isClosed) {
            ending.close();
          } else {
            abort.abort(enough);
          }
        },
      });
      await expect(save(ending, data, abort.signal)).rejects.toThrow(isClosed ? ClientClosedError : "enough");
      expect(data.destroyed).toBe(true);
      ending.close();
    }
  }
  vi.unstubAllEnvs();
  expect(await readdir(folder)).toEqual([]);
  await rm(folder, { recursive: true });
});

test("a source of another type, or one that fails, is an error of its own", async () => {
  const failing = Readable.from(
    (function* () {
      yield new Uint8Array(2 << 20);
      throw enough;
    })(),
  );
  await expect(client.save("ts", "source", failing, { format })).rejects.toBe(enough);
  await expect(client.save("ts", "source", Readable.from(["text"]) as never, { format })).rejects.toThrow(TypeError);
});

test("a signal of another type is refused", async () => {
  for (const signal of [{}, null, "x"]) {
    await expect(client.load("ts", "small", { signal: signal as never })).rejects.toThrow(TypeError);
  }
  const aborted = { signal: AbortSignal.abort(enough) };
  await expect(client.load("ts", "small", aborted)).rejects.toBe(enough);
  await expect(client.save("ts", "small", new Uint8Array(), { format, ...aborted })).rejects.toBe(enough);
});

test("a call may have the longest timeout", async () => {
  const longest = new Client(server.target, { token: () => Promise.resolve("none") });
  expect((await longest.load("ts", "small", { timeoutMs: 366 * 24 * 3600 * 1000 })).data).toHaveLength(10);
  longest.close();
});
