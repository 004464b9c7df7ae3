// Loading a checkpoint: in one message if its payload is small, else as streams that resume where they broke.
import { checkedParts, requireLoaded, requireSizes, validated } from "./answers.js";
import type { Budget } from "./budget.js";
import type { Caller } from "./calls.js";
import { Download, type Header } from "./download.js";
import { WorkflowCheckpointResumeError } from "./errors.js";
import type { Checkpoint as CheckpointMessage } from "./generated/holdfast/v1/checkpoint.js";
import {
  CheckpointView,
  type LoadRequest,
  type LoadResponse,
  ValidateDepth,
} from "./generated/holdfast/v1/checkpoint_service.js";
import { toCheckpoint, toSkipped } from "./messages.js";
import type { Migrations } from "./migrations.js";
import type { Progress } from "./payload.js";
import { ofReason } from "./reasons.js";
import type { Records } from "./records.js";
import { type Cut, type Draft, Memory, type Sinks, type Target, draftOf, partInto } from "./sinks.js";
import {
  type Checkpoint,
  type CheckpointRecord,
  type Format,
  LoadedCheckpoint,
  type LoadedFile,
  type PartInfo,
} from "./values.js";

/** How a load goes on after its first request. */
export interface Loading {
  readonly budget: Budget;
  readonly signal: AbortSignal | undefined;
  readonly maxBytes: bigint | undefined;
  readonly progress: Progress | undefined;
}

type Found = LoadResponse & { checkpoint: CheckpointMessage };

/** The calls of one client that load a checkpoint. */
export class Loads {
  constructor(
    private readonly caller: Caller,
    private readonly records: Records,
  ) {}

  /** Load a checkpoint with its payload and check the payload's digests. */
  async load(request: LoadRequest, loading: Loading): Promise<LoadedCheckpoint> {
    const found = await this.#first(request, loading);
    const records = await this.#recordsOf(request, found.checkpoint, found, loading);
    if (found.payloadIncluded) {
      return loaded(found, checkedParts(found.checkpoint, found.parts), records);
    }
    const memory = new Memory();
    const header = await this.#stream(request, found, memory.sinks, loading);
    const isSame = header.checkpoint.revision === found.checkpoint.revision;
    const own = isSame ? records : await this.#recordsOf(request, header.checkpoint, undefined, loading);
    if (request.view !== CheckpointView.FULL) {
      return loaded(header, memory.take(), own);
    }
    // The stream was requested by the id of the checkpoint that was found: it knows nothing of a fallback before that.
    const fellBack = found.fellBack || header.fellBack;
    return loaded({ ...header, fellBack, skipped: [...found.skipped, ...header.skipped] }, memory.take(), own);
  }

  /** Load a part of a checkpoint into a file or a stream. Little of the payload is in memory at a time. */
  async loadTo(request: LoadRequest, target: Target, part: string | undefined, loading: Loading): Promise<LoadedFile> {
    const scope = this.caller.connection.scope(loading.signal);
    const by = performance.now() + loading.budget.leftMs;
    const late = () => ofReason("DEADLINE_EXCEEDED", "the time of the call passed while it waited for its target");
    try {
      const cut: Cut = (promise) => scope.within(promise, by - performance.now(), late);
      return await this.#loadInto(draftOf(target, cut), request, part, loading);
    } finally {
      scope.end();
    }
  }

  async #loadInto(draft: Draft, request: LoadRequest, part: string | undefined, loading: Loading): Promise<LoadedFile> {
    let chosen = "";
    const sinks = partInto(draft, part, (name) => {
      chosen = name;
    });
    try {
      const found = await this.#first(request, loading);
      const wanted = sinks(found.checkpoint);
      let answer: Header = found;
      if (found.payloadIncluded) {
        const parts = checkedParts(found.checkpoint, found.parts);
        for (const [name, sink] of wanted) {
          await sink.write(parts.get(name) as Uint8Array);
        }
      } else {
        answer = await this.#stream(request, found, sinks, loading);
      }
      await draft.commit();
      const info = toCheckpoint(answer.checkpoint);
      return {
        info,
        part: info.parts.find((each) => each.name === chosen) as PartInfo,
        fellBack: answer.fellBack,
        skipped: answer.skipped.map(toSkipped),
        headRevision: answer.headRevision,
      };
    } catch (error) {
      await draft.discard(error);
      throw error;
    }
  }

  /** Load a checkpoint and migrate it to a format. */
  async resume(
    request: LoadRequest,
    format: Format,
    migrations: Migrations,
    loading: Loading,
  ): Promise<LoadedCheckpoint> {
    try {
      const found = await this.load(request, loading);
      const stored = found.format;
      if (stored.name === format.name && stored.version === format.version) {
        return found;
      }
      const parts = await migrations.migrate(found.parts, stored, format);
      return new LoadedCheckpoint({
        info: found.info,
        fellBack: found.fellBack,
        skipped: found.skipped,
        headRevision: found.headRevision,
        records: found.records,
        parts,
        format: { ...format },
        migratedFrom: stored,
      });
    } catch (error) {
      if (error instanceof WorkflowCheckpointResumeError && !error.retryable) {
        error.lastGood = await this.#lastGood(request, loading);
      }
      throw error;
    }
  }

  /** Return the checkpoint, with its payload if that is small. */
  async #first(request: LoadRequest, { budget, signal, maxBytes }: Loading): Promise<Found> {
    const response = await budget.spend((timeoutMs) => this.caller.unary("load", request, { timeoutMs, signal }));
    requireLoaded(response, request);
    requireSizes(response.checkpoint, maxBytes);
    return response;
  }

  /** Stream the payload of the checkpoint that was found, check its digests, and return the stream's header. */
  async #stream(request: LoadRequest, found: Found, sinks: Sinks, loading: Loading): Promise<Header> {
    const { budget, signal, maxBytes, progress } = loading;
    const { namespace, workflowId, acceptedFormats, fallback } = request;
    const wanted = sinks(found.checkpoint);
    const isAll = wanted.size === found.checkpoint.parts.length;
    // If the records are here, the payload must be of the same checkpoint. If that is found damaged now, fallback may
    // still replace it.
    const checkpointId = request.view === CheckpointView.FULL ? found.checkpoint.checkpointId : request.checkpointId;
    const ranges = isAll ? [] : [...wanted.keys()].map((part) => ({ part, offset: 0n, length: 0n }));
    const watch = this.caller.heads.watch(request);
    const download = new Download(
      { namespace, workflowId, checkpointId, acceptedFormats, fallback, ranges },
      sinks,
      found.checkpoint,
      maxBytes,
      progress,
      watch,
    );
    await budget.spend((timeoutMs) =>
      this.caller.call(
        "loadStream",
        async (attempt) => {
          // The last stream may have broken after its last chunk.
          if (!download.isWhole) {
            await download.receive(this.caller.connection.receiveStream(download.nextRequest(), attempt));
          }
        },
        { timeoutMs, signal, watch },
      ),
    );
    return download.finished();
  }

  async #recordsOf(
    request: LoadRequest,
    checkpoint: CheckpointMessage,
    answer: LoadResponse | undefined,
    { budget, signal }: Loading,
  ): Promise<readonly CheckpointRecord[]> {
    return request.view === CheckpointView.FULL ? this.records.of(checkpoint, answer, budget, signal) : [];
  }

  /** Return the newest checkpoint that can be resumed from; undefined if there is none, or if it cannot be found. */
  async #lastGood(load: LoadRequest, { budget, signal }: Loading): Promise<Checkpoint | undefined> {
    const { namespace, workflowId, acceptedFormats } = load;
    const request = { namespace, workflowId, checkpointId: "", depth: ValidateDepth.CHECKSUM, acceptedFormats };
    try {
      const response = await budget.spend((timeoutMs) => this.caller.unary("validate", request, { timeoutMs, signal }));
      return validated(response, request).lastGood;
    } catch {
      // The error of the load matters more than that of this search.
      return undefined;
    }
  }
}

function loaded(
  answer: Header,
  parts: ReadonlyMap<string, Uint8Array>,
  records: readonly CheckpointRecord[],
): LoadedCheckpoint {
  return new LoadedCheckpoint({
    info: toCheckpoint(answer.checkpoint),
    parts,
    fellBack: answer.fellBack,
    skipped: answer.skipped.map(toSkipped),
    headRevision: answer.headRevision,
    records,
  });
}
