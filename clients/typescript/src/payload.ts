// Outgoing payloads: the data of a caller, divided into parts and chunks with checksums.
import { type FileHandle, mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";

import { shown, text } from "./arguments.js";
import { crc32c } from "./crc32c.js";
import type { Part } from "./generated/holdfast/v1/checkpoint.js";
import type { SaveStreamRequest } from "./generated/holdfast/v1/checkpoint_service.js";
import { wrongAnswer } from "./reasons.js";
import type { Scope } from "./scope.js";

/** The most bytes that one message of `Save` has. */
export const UNARY_BYTES = 1 << 20;
const CHUNK_BYTES = 1 << 20;

/**
 * The bytes of one part: in memory, a `Blob` (such as that of `fs.openAsBlob(path)`), or a stream of Node.js or of the
 * Web. A stream of more than 1 MiB is copied to a temporary file first, because a save may have to be sent again. The time
 * of the call begins once the stream was read; an aborted signal ends the reading too.
 */
export type Source = Uint8Array | Blob | AsyncIterable<Uint8Array>;

/** A payload: the default part, or parts by name. A `Map` keeps the order of any names. */
export type Data = Source | Readonly<Record<string, Source>> | ReadonlyMap<string, Source>;

/** Called with the bytes that were sent or received so far, and all bytes. */
export type Progress = (doneBytes: number, allBytes: number) => void;

interface OutgoingPart {
  readonly name: string;
  readonly sizeBytes: number;
  /** Read bytes from an offset on, at most a chunk. */
  read(offset: number, end: number): Uint8Array | Promise<Uint8Array>;
}

/** The parts of a payload, which may be sent more than once. */
export class Outgoing {
  readonly sizeBytes: number;

  private constructor(
    private readonly parts: readonly OutgoingPart[],
    private readonly spools: readonly Spool[],
  ) {
    this.sizeBytes = parts.reduce((sum, part) => sum + part.sizeBytes, 0);
  }

  /**
   * Prepare a payload. Streams are read to their end, or until the call is cancelled.
   *
   * @throws TypeError if a part has another type.
   */
  static async of(data: Data | Outgoing, scope: Scope): Promise<Outgoing> {
    if (data instanceof Outgoing) {
      // Its owner removes the temporary files.
      return new Outgoing(data.parts, []);
    }
    const spools: Spool[] = [];
    try {
      const parts: OutgoingPart[] = [];
      for (const [name, source] of named(data)) {
        parts.push(await outgoingPart(text("a part's name", name), source, spools, scope));
      }
      return new Outgoing(parts, spools);
    } catch (error) {
      await Promise.all(spools.map((spool) => spool.remove()));
      throw error;
    }
  }

  /** Whether the payload fits into one message. */
  get fitsUnary(): boolean {
    return this.sizeBytes <= UNARY_BYTES;
  }

  /** The bytes of each part. */
  get sizes(): ReadonlyMap<string, number> {
    return new Map(this.parts.map((part) => [part.name, part.sizeBytes]));
  }

  /** Return the parts for one message. */
  async inline(): Promise<Part[]> {
    const made: Part[] = [];
    for (const part of this.parts) {
      const data = await part.read(0, part.sizeBytes);
      made.push({ name: part.name, data, crc32c: crc32c(data) });
    }
    return made;
  }

  /**
   * Iterate over the messages of a stream after its header: chunks and a finish.
   *
   * @param received - The position up to which the server has the payload, from its metadata; "" for none of it.
   */
  async *messages(received: string, progress: Progress | undefined): AsyncGenerator<SaveStreamRequest> {
    const [firstPart, firstByte] = position(received);
    let done = 0;
    for (const [index, part] of this.parts.entries()) {
      let offset = index < firstPart ? part.sizeBytes : index === firstPart ? Math.min(firstByte, part.sizeBytes) : 0;
      done += offset;
      // Even an empty part has a chunk.
      let isEmpty = part.sizeBytes === 0 && index >= firstPart;
      while (offset < part.sizeBytes || isEmpty) {
        isEmpty = false;
        const data = await part.read(offset, Math.min(offset + CHUNK_BYTES, part.sizeBytes));
        yield {
          message: { $case: "chunk", value: { part: part.name, offset: BigInt(offset), data, crc32c: crc32c(data) } },
        };
        offset += data.length;
        done += data.length;
        progress?.(done, this.sizeBytes);
      }
    }
    yield { message: { $case: "finish", value: { sizeBytes: BigInt(this.sizeBytes) } } };
  }

  /** Remove the temporary files. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.spools.map((spool) => spool.remove()));
  }
}

function named(data: Data): Iterable<[string, Source]> {
  if (isSource(data)) {
    return [["", data]];
  }
  if (data instanceof Map) {
    return data as ReadonlyMap<string, Source>;
  }
  if (
    typeof data === "object" &&
    (data as unknown) !== null &&
    !ArrayBuffer.isView(data) &&
    !(data instanceof ArrayBuffer)
  ) {
    return Object.entries(data as Readonly<Record<string, Source>>);
  }
  throw new TypeError(`data must be a Uint8Array, a Blob, a stream of bytes, or parts by name, not ${shown(data)}`);
}

function isSource(data: unknown): data is Source {
  return data instanceof Uint8Array || data instanceof Blob || isStream(data);
}

function isStream(data: unknown): data is AsyncIterable<Uint8Array> {
  return typeof data === "object" && data !== null && Symbol.asyncIterator in data;
}

async function outgoingPart(name: string, source: unknown, spools: Spool[], scope: Scope): Promise<OutgoingPart> {
  if (source instanceof Uint8Array) {
    return inMemory(name, source);
  }
  if (source instanceof Blob) {
    const read = async (offset: number, end: number) => new Uint8Array(await source.slice(offset, end).arrayBuffer());
    return { name, sizeBytes: source.size, read };
  }
  if (isStream(source)) {
    return spooled(name, source, spools, scope);
  }
  throw new TypeError(`data[${shown(name)}] must be a Uint8Array, a Blob or a stream of bytes, not ${shown(source)}`);
}

/** Return a part in memory. A small one is copied, so that the caller may change it. */
function inMemory(name: string, data: Uint8Array): OutgoingPart {
  const kept = data.length > UNARY_BYTES ? data : new Uint8Array(data);
  return { name, sizeBytes: kept.length, read: (offset, end) => kept.subarray(offset, end) };
}

/** Read a stream to its end: into memory if it is small, else into a temporary file. */
async function spooled(
  name: string,
  stream: AsyncIterable<Uint8Array>,
  spools: Spool[],
  scope: Scope,
): Promise<OutgoingPart> {
  let first: Uint8Array[] = [];
  let size = 0;
  let spool: Spool | undefined;
  for await (const piece of pieces(stream, scope)) {
    if (!(piece instanceof Uint8Array)) {
      throw new TypeError(`data[${shown(name)}] must be a stream of Uint8Array, not of ${shown(piece)}`);
    }
    size += piece.length;
    first.push(piece);
    if (size > UNARY_BYTES) {
      if (spool === undefined) {
        spool = await Spool.create();
        spools.push(spool);
      }
      for (const each of first) {
        await spool.append(each);
      }
      first = [];
    }
  }
  if (spool === undefined) {
    return inMemory(name, Buffer.concat(first));
  }
  const file = spool;
  return { name, sizeBytes: size, read: (offset, end) => file.read(offset, end) };
}

/** Iterate over a stream of a caller, which may never give another piece, until the call is cancelled. */
async function* pieces(stream: AsyncIterable<unknown>, scope: Scope): AsyncGenerator {
  const iterator = stream[Symbol.asyncIterator]();
  let hasEnded = false;
  try {
    for (;;) {
      const next = await scope.untilCancelled(Promise.resolve(iterator.next()));
      if (next.done) {
        hasEnded = true;
        return;
      }
      yield next.value;
    }
  } finally {
    if (!hasEnded) {
      // It may wait for the piece that does not come. A stream of Node.js can be ended in spite of that.
      const closed = Promise.resolve(iterator.return?.());
      closed.catch(() => undefined);
      if (stream instanceof Readable) {
        stream.destroy();
      }
    }
  }
}

/** A temporary file. */
class Spool {
  private constructor(
    private readonly folder: string,
    private readonly file: FileHandle,
  ) {}

  static async create(): Promise<Spool> {
    const folder = await mkdtemp(join(tmpdir(), "holdfast-"));
    return new Spool(folder, await open(join(folder, "part"), "wx+", 0o600));
  }

  async append(data: Uint8Array): Promise<void> {
    await this.file.appendFile(data);
  }

  async read(offset: number, end: number): Promise<Uint8Array> {
    const data = new Uint8Array(end - offset);
    let filled = 0;
    while (filled < data.length) {
      const { bytesRead } = await this.file.read(data, filled, data.length - filled, offset + filled);
      if (bytesRead === 0) {
        throw new Error(`the temporary file of a payload became shorter: ${join(this.folder, "part")}`);
      }
      filled += bytesRead;
    }
    return data;
  }

  async remove(): Promise<void> {
    await this.file.close();
    await rm(this.folder, { recursive: true, force: true });
  }
}

function position(received: string): [number, number] {
  if (!received) {
    return [0, 0];
  }
  const found = /^([0-9]{1,15}):([0-9]{1,15})$/.exec(received);
  if (found === null) {
    throw wrongAnswer(`an invalid position: ${shown(received)}`);
  }
  return [Number(found[1]), Number(found[2])];
}
