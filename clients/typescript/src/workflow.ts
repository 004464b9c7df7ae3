// A handle of one workflow, which carries revision and epoch from call to call.
import { invalid } from "./arguments.js";
import type { CallOptions } from "./calls.js";
import type { Client } from "./client.js";
import { HoldfastError } from "./errors.js";
import type { Head } from "./heads.js";
import type {
  AcquireOptions,
  LoadOptions,
  LoadToOptions,
  ResumeOptions,
  SaveOptions,
  WriteOptions,
} from "./options.js";
import type { Data } from "./payload.js";
import type { Target } from "./sinks.js";
import type { Checkpoint, CheckpointRecord, LoadedCheckpoint, LoadedFile, Writer } from "./values.js";

// How often one save gives way to other saves of the same writer.
const MAX_ADOPTIONS = 10;

/**
 * A workflow, as one writer sees it.
 *
 * Once the handle knows a revision, each of its saves requires that nobody else has saved since, deleted the whole
 * workflow, or acquired it. Deletions of checkpoints, prunes, collections, and saves under the handle's own epoch do not
 * conflict. The arguments of its methods are those of {@link Client}.
 */
export class Workflow {
  /** The revision that the next save expects; undefined before the first call. */
  revision: bigint | undefined;
  /** The epoch of this writer; undefined before {@link Workflow.acquireWriter}. */
  epoch: bigint | undefined;
  /** The checkpoint that was saved last or resumed from; "" before that. */
  checkpointId = "";

  /** @internal */
  constructor(
    private readonly client: Client,
    /** The namespace. */
    readonly namespace: string,
    /** The workflow's id. */
    readonly workflowId: string,
  ) {}

  /** The newest head of the workflow that the client has seen; undefined if it remembers none. */
  get head(): Head | undefined {
    return this.client.head(this.namespace, this.workflowId);
  }

  /**
   * Become the only writer. The handle keeps the revision that it knows: if somebody else has saved since, the next save
   * is refused until the handle has resumed.
   */
  async acquireWriter(options: AcquireOptions = {}): Promise<Writer> {
    const writer = await this.client.acquireWriter(this.namespace, this.workflowId, options);
    this.epoch = writer.epoch;
    this.revision ??= writer.revision;
    return writer;
  }

  /**
   * Save the next checkpoint. The parent is by default the handle's `checkpointId`; "" is for none. If all saves that
   * conflict were made under the handle's own epoch, the handle continues from the newest of them.
   *
   * @throws RevisionConflictError if another writer has changed the workflow since, WriterFencedError if another writer
   * owns it.
   */
  async save(data: Data, options: Omit<SaveOptions, "expectedRevision" | "epoch">): Promise<Checkpoint> {
    // A stream can be read only once, and a save that gives way is sent again.
    const kept = await this.client.prepared(data, options.signal);
    try {
      for (let adoptions = 0; ; adoptions += 1) {
        try {
          const saved = await this.client.saveOutgoing(this.namespace, this.workflowId, kept, {
            ...options,
            parentId: options.parentId ?? this.checkpointId,
            expectedRevision: this.revision,
            epoch: this.epoch,
          });
          this.revision = saved.revision;
          this.checkpointId = saved.checkpointId;
          return saved;
        } catch (error) {
          const head = ownHead(error, this.revision, this.epoch);
          if (head === undefined || adoptions === MAX_ADOPTIONS) {
            throw error;
          }
          await this.#adopt(head, options);
        }
      }
    } finally {
      await kept[Symbol.asyncDispose]();
    }
  }

  /** Resume from the newest checkpoint: the next save has it as its parent and expects the current head. */
  async resume(options: ResumeOptions): Promise<LoadedCheckpoint> {
    const loaded = await this.client.resume(this.namespace, this.workflowId, options);
    this.checkpointId = loaded.checkpointId;
    this.revision = loaded.headRevision || undefined;
    return loaded;
  }

  /** Load a checkpoint. Only {@link Workflow.resume} changes the handle. */
  async load(options: LoadOptions = {}): Promise<LoadedCheckpoint> {
    return this.client.load(this.namespace, this.workflowId, options);
  }

  /** Load a part of a checkpoint into a file or a stream. */
  async loadTo(target: Target, options: LoadToOptions = {}): Promise<LoadedFile> {
    return this.client.loadTo(this.namespace, this.workflowId, target, options);
  }

  /** Delete all checkpoints, except the newest ones and those that these need. Returns how many were deleted. */
  async prune(options: Omit<WriteOptions, "epoch"> & { readonly keepLast?: number } = {}): Promise<bigint> {
    return this.client.prune(this.namespace, this.workflowId, { ...options, epoch: this.epoch });
  }

  /**
   * Attach records to a checkpoint.
   *
   * @param records - The records.
   * @param options - `checkpointId`: the checkpoint. Default: the one that this handle saved last or resumed from.
   * @throws InvalidRequestError if no checkpoint is named, and the handle has none.
   */
  async attach(
    records: Iterable<CheckpointRecord>,
    options: Omit<WriteOptions, "epoch"> & { readonly checkpointId?: string | undefined } = {},
  ): Promise<void> {
    const { checkpointId, ...rest } = options;
    const id = this.#checkpointId(checkpointId);
    return this.client.attach(this.namespace, this.workflowId, id, records, { ...rest, epoch: this.epoch });
  }

  /**
   * Return the records of a checkpoint.
   *
   * @param options - `checkpointId`: the checkpoint. Default: the one that this handle saved last or resumed from.
   */
  async records(
    options: CallOptions & { readonly checkpointId?: string | undefined } = {},
  ): Promise<readonly CheckpointRecord[]> {
    const { checkpointId, ...rest } = options;
    return this.client.records(this.namespace, this.workflowId, this.#checkpointId(checkpointId), rest);
  }

  /** Continue from a head that this writer made by another handle, and from the newest checkpoint. */
  async #adopt(head: bigint, { signal, timeoutMs }: CallOptions): Promise<void> {
    const found = await this.client.validate(this.namespace, this.workflowId, { depth: "marker", signal, timeoutMs });
    this.revision = head;
    this.checkpointId = found.checkpoint?.checkpointId ?? "";
  }

  #checkpointId(given: string | undefined): string {
    if (given === undefined && !this.checkpointId) {
      throw invalid("checkpointId", "must be given before the handle has saved or resumed");
    }
    return given ?? this.checkpointId;
  }
}

/** Return the head's revision if every save after a revision was made under an epoch. */
function ownHead(error: unknown, revision: bigint | undefined, epoch: bigint | undefined): bigint | undefined {
  if (!(error instanceof HoldfastError) || error.reason !== "REVISION_CONFLICT" || revision === undefined || !epoch) {
    return undefined;
  }
  const found = ["head_revision", "last_save_revision", "last_save_epoch", "last_other_save_revision"].map((name) => {
    const value = error.metadata[name] ?? "";
    return /^[0-9]{1,19}$/.test(value) ? BigInt(value) : undefined;
  });
  const [head, saved, savedEpoch, other] = found;
  if (head === undefined || saved === undefined || savedEpoch === undefined || other === undefined) {
    return undefined;
  }
  return savedEpoch === epoch && other <= revision && revision < saved && saved <= head ? head : undefined;
}
