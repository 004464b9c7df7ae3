// Where the bytes of a received payload go: into memory, a file or a stream.
import { type FileHandle, open, rename, rm } from "node:fs/promises";
import { once } from "node:events";
import { dirname, resolve } from "node:path";
import { Writable } from "node:stream";
import { finished } from "node:stream/promises";
import { fileURLToPath } from "node:url";

import { invalid, shown } from "./arguments.js";
import { unavailable } from "./errors.js";
import type { Checkpoint, PartInfo } from "./generated/holdfast/v1/checkpoint.js";
import { randomHex } from "./random.js";
import { ofReason } from "./reasons.js";

/** Takes the bytes of one part, in their order. */
export interface Sink {
  write(data: Uint8Array): void | Promise<void>;
  /** Drop everything that was written: another payload follows. */
  restart(): void | Promise<void>;
}

/** Takes the payload of one checkpoint: returns a sink for each part that is wanted, by name. */
export type Sinks = (checkpoint: Checkpoint) => ReadonlyMap<string, Sink>;

/** A payload that is kept in memory. */
export class Memory {
  readonly #parts = new Map<string, Buffered>();

  readonly sinks: Sinks = (checkpoint) => {
    this.#parts.clear();
    for (const part of checkpoint.parts) {
      this.#parts.set(part.name, new Buffered(part));
    }
    return this.#parts;
  };

  /** Return the parts. */
  take(): Map<string, Uint8Array> {
    return new Map([...this.#parts].map(([name, part]) => [name, part.data]));
  }
}

class Buffered implements Sink {
  readonly data: Uint8Array;
  #filled = 0;

  constructor(part: PartInfo) {
    try {
      // The system gives the memory when it is written to: a size that is announced and never sent costs nothing.
      this.data = new Uint8Array(Number(part.sizeBytes));
    } catch {
      throw ofReason(
        "PAYLOAD_TOO_LARGE",
        `part ${shown(part.name)} has ${part.sizeBytes} bytes, more than one array holds`,
        {
          advice: "Use loadTo.",
        },
      );
    }
  }

  write(data: Uint8Array): void {
    this.data.set(data, this.#filled);
    this.#filled += data.length;
  }

  restart(): void {
    this.#filled = 0;
  }
}

/** Where `loadTo` writes: a path, or a stream of Node.js or of the Web. */
export type Target = string | URL | Writable | WritableStream<Uint8Array>;

/** The destination of one `loadTo`. */
export interface Draft extends Sink {
  commit(): Promise<void>;
  discard(error: unknown): Promise<void>;
}

/** Waits for a promise, but no longer than the call may last. */
export type Cut = <Result>(promise: Promise<Result>) => Promise<Result>;

/**
 * Return a destination. A file appears at its path only once it is whole.
 *
 * @param target - A path or a stream.
 * @param cut - Waits for the reader of a stream, who may never read on.
 */
export function draftOf(target: Target, cut: Cut): Draft {
  if (typeof target === "string" || target instanceof URL) {
    return new FileDraft(resolve(target instanceof URL ? fileURLToPath(target) : target));
  }
  if (target instanceof Writable) {
    return new NodeStream(target, cut);
  }
  if (target instanceof WritableStream) {
    return new WebStream(target, cut);
  }
  throw new TypeError(`the target must be a path, a Writable or a WritableStream, not ${shown(target)}`);
}

/** Return the sinks that take one part: the one with the name, or else the default part or the only one. */
export function partInto(sink: Sink, part: string | undefined, chosen: (name: string) => void): Sinks {
  return ({ parts }) => {
    const names = parts.map((each) => each.name);
    const name = part ?? (names.length === 1 ? names[0] : undefined) ?? "";
    if (!names.includes(name)) {
      throw invalid("part", `must be one of ${names.map(shown).join(", ").slice(0, 500)}, not ${shown(name)}`);
    }
    chosen(name);
    return new Map([[name, sink]]);
  };
}

class FileDraft implements Draft {
  readonly #path: string;
  readonly #draft: string;
  #file: FileHandle | undefined;

  constructor(path: string) {
    this.#path = path;
    this.#draft = `${path}.${randomHex(6)}.partial`;
  }

  async write(data: Uint8Array): Promise<void> {
    this.#file ??= await open(this.#draft, "wx", 0o666);
    await this.#file.appendFile(data);
  }

  async restart(): Promise<void> {
    await this.#file?.close();
    this.#file = undefined;
    await rm(this.#draft, { force: true });
  }

  async commit(): Promise<void> {
    await this.write(new Uint8Array());
    await this.#file?.sync();
    await this.#file?.close();
    this.#file = undefined;
    await rename(this.#draft, this.#path);
    const folder = await open(dirname(this.#path), "r");
    await folder.sync().finally(() => folder.close());
  }

  async discard(): Promise<void> {
    await this.restart();
  }
}

/** A stream cannot take bytes back: whoever reads it learns of a failure by its error, and must not use the bytes. */
abstract class OneWay implements Draft {
  #hasBegun = false;

  async write(data: Uint8Array): Promise<void> {
    this.#hasBegun ||= data.length > 0;
    await this.send(data);
  }

  restart(): void {
    if (this.#hasBegun) {
      throw unavailable(
        "the checkpoint was replaced while it was loaded into a stream: load it again into another stream",
        {
          retryable: false,
        },
      );
    }
  }

  protected abstract send(data: Uint8Array): Promise<void>;
  abstract commit(): Promise<void>;
  abstract discard(error: unknown): Promise<void>;
}

class NodeStream extends OneWay {
  /** Rejects when the stream can take nothing any more. */
  readonly #gone: Promise<never>;

  constructor(
    private readonly stream: Writable,
    private readonly cut: Cut,
  ) {
    super();
    if (!stream.writable) {
      throw new TypeError("the target must be a stream that is open, not one that has ended or was destroyed");
    }
    this.#gone = finished(stream, { readable: false }).then(() => {
      throw new Error("the stream has ended before the whole part was written");
    });
    this.#gone.catch(() => undefined);
  }

  protected async send(data: Uint8Array): Promise<void> {
    if (!this.stream.writable) {
      await this.#gone;
    }
    if (data.length && !this.stream.write(data)) {
      await this.cut(Promise.race([once(this.stream, "drain"), this.#gone]));
    }
  }

  async commit(): Promise<void> {
    if (!this.stream.writable) {
      await this.#gone;
    }
    this.stream.end();
    await this.cut(finished(this.stream, { readable: false }));
  }

  async discard(error: unknown): Promise<void> {
    this.stream.destroy(error instanceof Error ? error : new Error(String(error)));
    return Promise.resolve();
  }
}

class WebStream extends OneWay {
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;

  constructor(
    stream: WritableStream<Uint8Array>,
    private readonly cut: Cut,
  ) {
    super();
    this.#writer = stream.getWriter();
  }

  protected async send(data: Uint8Array): Promise<void> {
    if (data.length) {
      await this.cut(this.#writer.write(data));
    }
  }

  async commit(): Promise<void> {
    await this.cut(this.#writer.close());
  }

  async discard(error: unknown): Promise<void> {
    // It waits for a write that may never end.
    this.#writer.abort(error).catch(() => undefined);
    return Promise.resolve();
  }
}
