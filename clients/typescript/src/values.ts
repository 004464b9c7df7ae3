// The values of the public API: formats, checkpoints, and what calls return. The messages of the API stay inside.

/** Labels of a checkpoint. */
export type Labels = Readonly<Record<string, string>>;

/** The format of a payload: a name, and a version of at least 1. */
export interface Format {
  readonly name: string;
  readonly version: number;
}

/** A format name, and the versions that are accepted, both bounds included. */
export interface AcceptedFormat {
  readonly name: string;
  readonly minVersion: number;
  readonly maxVersion: number;
}

/** A part of a payload, without its bytes. */
export interface PartInfo {
  readonly name: string;
  readonly sizeBytes: bigint;
  readonly sha256: Uint8Array;
  readonly crc32c: number;
}

/** A committed checkpoint, without its payload. */
export interface Checkpoint {
  readonly namespace: string;
  readonly workflowId: string;
  /** The id, unique in the workflow. */
  readonly checkpointId: string;
  /** Its revision in the workflow's log. */
  readonly revision: bigint;
  /** The checkpoint that it was made from; "" for none. */
  readonly parentId: string;
  readonly format: Format;
  readonly labels: Labels;
  readonly parts: readonly PartInfo[];
  /** The bytes of all parts. */
  readonly sizeBytes: bigint;
  /** When it was committed. */
  readonly created: Date;
  /** When its time to live ends; undefined for never. */
  readonly expires: Date | undefined;
  /** The epoch of the writer that saved it; 0n for none. */
  readonly epoch: bigint;
  /** The idempotency key of its save. */
  readonly requestId: string;
  /** The trace of its save, 32 hex digits. */
  readonly traceId: string;
  /** Whether an earlier attempt of the same save had committed it. */
  readonly replayed: boolean;
  /** Whether retention and prunes keep it. */
  readonly pinned: boolean;
  /** The bytes of all parts as the server stores them, without what they rest on; 0n if it does not report it. */
  readonly storedBytes: bigint;
  /** The caller that saved it, such as "token:ci"; "" if the server did not authenticate callers. */
  readonly principal: string;
}

/** A checkpoint that was skipped, or a finding against one. */
export interface Skipped {
  /** Its id; "" if its marker cannot be read, or if no checkpoint is concerned. */
  readonly checkpointId: string;
  readonly revision: bigint;
  /** The reason, such as "CHECKPOINT_CORRUPTED". */
  readonly reason: string;
  readonly message: string;
}

/** Small data that is attached to a checkpoint id, under a key of its own. */
export interface CheckpointRecord {
  /** Unique for the checkpoint id, 1 to 512 bytes. */
  readonly key: string;
  readonly data: Uint8Array;
  /** Whether to replace the record that has the same key; only for records to attach. */
  readonly replace?: boolean;
}

/** A checkpoint of which one part was written to a file or a stream. */
export interface LoadedFile {
  /** Its metadata. */
  readonly info: Checkpoint;
  /** The part that was written. */
  readonly part: PartInfo;
  /** Whether it is older than the checkpoint that was requested. */
  readonly fellBack: boolean;
  /** The checkpoints that a fallback skipped, newest first. */
  readonly skipped: readonly Skipped[];
  /** The revision of the head, which may be a fence or a deletion; 0n if the head is damaged. */
  readonly headRevision: bigint;
}

/** A checkpoint with its payload. */
export class LoadedCheckpoint {
  /** Its metadata. */
  readonly info: Checkpoint;
  /** Its bytes by part name. */
  readonly parts: ReadonlyMap<string, Uint8Array>;
  /** The format of these bytes. */
  readonly format: Format;
  /** Whether it is older than the checkpoint that was requested. */
  readonly fellBack: boolean;
  /** The checkpoints that a fallback skipped, newest first. */
  readonly skipped: readonly Skipped[];
  /** The revision of the head, which may be a fence or a deletion; 0n if the head is damaged or not known. */
  readonly headRevision: bigint;
  /** Its records in the order of their keys, if they were requested. */
  readonly records: readonly CheckpointRecord[];
  /** The format that it was stored in, if `resume` migrated it. */
  readonly migratedFrom: Format | undefined;

  /** @internal */
  constructor(
    fields: Pick<LoadedCheckpoint, "info" | "parts"> & Partial<Omit<LoadedCheckpoint, "info" | "parts" | "data">>,
  ) {
    this.info = fields.info;
    this.parts = fields.parts;
    this.format = fields.format ?? fields.info.format;
    this.fellBack = fields.fellBack ?? false;
    this.skipped = fields.skipped ?? [];
    this.headRevision = fields.headRevision ?? 0n;
    this.records = fields.records ?? [];
    this.migratedFrom = fields.migratedFrom;
  }

  /**
   * The default part, or the only part if there is no default part.
   *
   * @throws RangeError if there are several parts and none is the default.
   */
  get data(): Uint8Array {
    const [only] = this.parts.values();
    const found = this.parts.get("") ?? (this.parts.size === 1 ? only : undefined);
    if (found === undefined) {
      throw new RangeError(`checkpoint ${this.checkpointId} has several parts and no default part: use parts`);
    }
    return found;
  }

  /** Its revision. */
  get revision(): bigint {
    return this.info.revision;
  }

  /** Its id. */
  get checkpointId(): string {
    return this.info.checkpointId;
  }
}

/** A workflow, according to the head of its log. */
export interface WorkflowInfo {
  readonly namespace: string;
  readonly workflowId: string;
  readonly headRevision: bigint;
  /** The newest revision that holds a checkpoint; 0n for none. */
  readonly checkpointRevision: bigint;
  /** The epoch of its newest writer. */
  readonly epoch: bigint;
  /** When the head was written. */
  readonly updated: Date;
}

/** Whether a checkpoint can be resumed from. */
export interface Validation {
  readonly resumable: boolean;
  readonly findings: readonly Skipped[];
  /** The checkpoint; undefined if it could not be read. */
  readonly checkpoint: Checkpoint | undefined;
  /** The newest checkpoint that can be resumed from; undefined if there is none. */
  readonly lastGood: Checkpoint | undefined;
}

/** The ownership of a workflow. */
export interface Writer {
  /** The writer's epoch, for its calls. */
  readonly epoch: bigint;
  /** The revision of the fence. */
  readonly revision: bigint;
  /** When the lease ends if no save renews it; undefined without a lease. */
  readonly leaseExpires: Date | undefined;
}

/** What a server can do, and its limits. */
export interface Capabilities {
  readonly serverVersion: string;
  readonly apiVersions: readonly string[];
  readonly layoutVersion: number;
  readonly markerVersion: number;
  readonly features: readonly string[];
  readonly limits: Readonly<Record<string, bigint | number>>;
}
