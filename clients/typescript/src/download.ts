// Incoming payloads: chunks are checked and handed on, over as many streams as it takes. A download never holds more than
// its header announces. Only `finish` proves that a stream was whole.
import { type Hash, createHash } from "node:crypto";

import { mismatch, requireLoaded, requireSizes, transitError } from "./answers.js";
import { shown } from "./arguments.js";
import { crc32c } from "./crc32c.js";
import { unavailable } from "./errors.js";
import { Checkpoint, type Chunk, type PartInfo } from "./generated/holdfast/v1/checkpoint.js";
import {
  Fallback,
  type LoadStreamHeader,
  type LoadStreamRequest,
  type LoadStreamResponse,
} from "./generated/holdfast/v1/checkpoint_service.js";
import type { Watch } from "./heads.js";
import type { Progress } from "./payload.js";
import type { Sink, Sinks } from "./sinks.js";

/** The header of a stream whose checkpoint is known to be one that was requested. */
export type Header = LoadStreamHeader & { checkpoint: Checkpoint };

/** A payload that is being received. */
export class Download {
  readonly #parts = new Map<string, ReceivedPart>();
  #header: Header | undefined;
  #total = 0;

  /**
   * @param request - The first request; later ones resume it.
   * @param announced - The checkpoint from an answer before the first stream.
   * @param maxBytes - The most bytes to accept; undefined for what this machine's memory could hold.
   */
  constructor(
    private readonly request: LoadStreamRequest,
    private readonly sinks: Sinks,
    private readonly announced: Checkpoint,
    private readonly maxBytes: bigint | undefined,
    private readonly progress: Progress | undefined,
    private readonly watch: Watch,
  ) {}

  /** Whether nothing is missing, so that no further stream is needed. */
  get isWhole(): boolean {
    return this.#header !== undefined && [...this.#parts.values()].every((part) => !part.isMissing);
  }

  /** Return the header of the stream, and check the parts against their digests. */
  finished(): Header {
    if (this.#header === undefined) {
      throw unavailable("the stream ended before its payload did");
    }
    for (const part of this.#parts.values()) {
      part.requireDigest(this.#header.checkpoint.checkpointId);
    }
    return this.#header;
  }

  /** Return a request for the missing ranges of the checkpoint that the first stream began. */
  nextRequest(): LoadStreamRequest {
    if (this.#header === undefined) {
      return this.request;
    }
    const missing = [...this.#parts.values()].filter((part) => part.isMissing);
    return {
      ...this.request,
      checkpointId: this.#header.checkpoint.checkpointId,
      fallback: Fallback.NONE,
      ranges: missing.map(({ info, received }) => ({ part: info.name, offset: BigInt(received), length: 0n })),
    };
  }

  /** Receive a stream to its end. */
  async receive(stream: AsyncIterable<LoadStreamResponse>): Promise<void> {
    const totalBefore = this.#total;
    let hasHeader = false;
    let isFinished = false;
    for await (const { message } of stream) {
      if (isFinished || hasHeader === (message?.$case === "header")) {
        throw transitError("its messages are out of order");
      }
      switch (message?.$case) {
        case "header":
          await this.#begin(message.value);
          hasHeader = true;
          break;
        case "chunk":
          await this.#take(message.value);
          break;
        case "finish":
          if (message.value.sizeBytes !== BigInt(this.#total - totalBefore) || !this.isWhole) {
            throw transitError("something is missing");
          }
          isFinished = true;
      }
    }
    if (!isFinished) {
      throw unavailable("the stream ended before its payload did");
    }
  }

  /** Accept the header of a stream. All streams must be about the same checkpoint. */
  async #begin(header: LoadStreamHeader): Promise<void> {
    requireLoaded(header, this.request);
    this.watch.require(header);
    const found = header.checkpoint;
    requireSizes(found, this.maxBytes);
    if (this.announced.revision === found.revision && !isSame(this.announced, found)) {
      throw transitError("its checkpoint is not the one that was announced");
    }
    if (this.#header === undefined) {
      this.#parts.clear();
      for (const [name, sink] of this.sinks(found)) {
        const info = found.parts.find((part) => part.name === name) as PartInfo;
        this.#parts.set(name, new ReceivedPart(info, sink));
      }
      this.#header = header;
      return;
    }
    const before = this.#header.checkpoint;
    if (
      found.checkpointId !== before.checkpointId ||
      (found.revision === before.revision && !hasSameParts(found, before))
    ) {
      throw transitError("it resumes with another checkpoint");
    }
    if (found.revision !== before.revision) {
      this.#header = undefined;
      this.#total = 0;
      for (const part of this.#parts.values()) {
        await part.sink.restart();
      }
      throw unavailable("the checkpoint was replaced while it was loaded");
    }
  }

  async #take(chunk: Chunk): Promise<void> {
    const part = this.#parts.get(chunk.part);
    if (part === undefined) {
      throw transitError(`part ${shown(chunk.part)} was not requested`);
    }
    await part.take(chunk);
    this.#total += chunk.data.length;
    this.progress?.(
      this.#total,
      [...this.#parts.values()].reduce((sum, each) => sum + Number(each.info.sizeBytes), 0),
    );
  }
}

function isSame(one: Checkpoint, other: Checkpoint): boolean {
  return Buffer.from(encoded(one)).equals(encoded(other));
}

function hasSameParts(one: Checkpoint, other: Checkpoint): boolean {
  return isSame({ ...one, parts: other.parts }, one);
}

/** Return a checkpoint as bytes. The order of labels has no meaning. */
function encoded(checkpoint: Checkpoint): Uint8Array {
  return Checkpoint.encode({ ...checkpoint, labels: new Map([...checkpoint.labels].sort()) }).finish();
}

/** A part that is being received. */
class ReceivedPart {
  /** How many bytes have arrived. */
  received = 0;
  readonly #sha256: Hash = createHash("sha256");
  #hasBegun = false;

  constructor(
    readonly info: PartInfo,
    readonly sink: Sink,
  ) {}

  /** Whether more of it must arrive. Even an empty part has a chunk. */
  get isMissing(): boolean {
    return !this.#hasBegun || BigInt(this.received) < this.info.sizeBytes;
  }

  /** Check the bytes of a chunk, hash them and hand them on. */
  async take({ offset, data, crc32c: checksum }: Chunk): Promise<void> {
    const name = shown(this.info.name);
    if (offset !== BigInt(this.received) || crc32c(data) !== checksum) {
      throw transitError(`a chunk of part ${name} does not match`);
    }
    if (offset + BigInt(data.length) > this.info.sizeBytes) {
      throw transitError(`part ${name} has more bytes than its header announces`);
    }
    // An empty part has one empty chunk. A stream of more empty chunks could be endless.
    if (data.length === 0 && (this.info.sizeBytes > 0n || this.#hasBegun)) {
      throw transitError(`a chunk of part ${name} is empty`);
    }
    this.#hasBegun = true;
    this.received += data.length;
    this.#sha256.update(data);
    await this.sink.write(data);
  }

  /** Check the whole part against its size and digest. */
  requireDigest(checkpointId: string): void {
    if (this.isMissing || !this.#sha256.digest().equals(this.info.sha256)) {
      throw mismatch(checkpointId, this.info.name);
    }
  }
}
