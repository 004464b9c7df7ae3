// The options of the calls.
import type { Integer } from "./arguments.js";
import type { CallOptions } from "./calls.js";
import type { Head } from "./heads.js";
import type { Migrations } from "./migrations.js";
import type { Progress } from "./payload.js";
import type { AcceptedFormat, Format, Labels } from "./values.js";

/** Options of a call that changes something. */
export interface ChangeOptions extends CallOptions {
  /** The idempotency key. Default: a new one. */
  readonly requestId?: string | undefined;
}

/** Options of a call that a writer makes. */
export interface WriteOptions extends ChangeOptions {
  /** The writer's epoch. Without it the call is not fenced. */
  readonly epoch?: Integer | undefined;
}

/** Options of {@link Client.save}. */
export interface SaveOptions extends WriteOptions {
  /** The format of the payload. */
  readonly format: Format;
  /** The id. Default: the server chooses one. */
  readonly checkpointId?: string | undefined;
  /** The checkpoint that this one was made from. Default: none. */
  readonly parentId?: string | undefined;
  /** Labels to find it by. */
  readonly labels?: Labels | undefined;
  /**
   * Commit only if since this revision of the log nobody has saved, deleted the whole workflow, or acquired it under
   * another epoch; 0: while no checkpoint exists.
   */
  readonly expectedRevision?: Integer | undefined;
  /** How long it must be kept, in milliseconds. Default: until it is deleted. */
  readonly ttlMs?: number | undefined;
  /** Replace the checkpoint that has the same id, if there is one. */
  readonly replace?: boolean | undefined;
  /** It is of no use without its parent, which is kept as long as it is. */
  readonly needsParent?: boolean | undefined;
  /** Keep it when retention by count and age or a prune would remove it. */
  readonly pinned?: boolean | undefined;
  /**
   * Promise that no checkpoint of the workflow has the id or ever had it, which makes the save faster. If that is wrong
   * and the server does not notice, two checkpoints have the id.
   */
  readonly freshId?: boolean | undefined;
  /** Called while a payload is streamed. */
  readonly progress?: Progress | undefined;
}

/** Options of a call that compares heads. */
export interface HeadOptions extends CallOptions {
  /**
   * A head of the workflow that the caller has seen, perhaps by another client. If the log is older, the call fails with
   * a RolledBackError.
   */
  readonly notBefore?: Head | undefined;
}

/** Options of {@link Client.load}. */
export interface LoadOptions extends HeadOptions {
  /** The checkpoint. Default: the newest. */
  readonly checkpointId?: string | undefined;
  /** Refuse any other format before data moves. Default: any. */
  readonly acceptedFormats?: readonly AcceptedFormat[] | undefined;
  /** If the checkpoint is damaged, load the newest older one that is whole. */
  readonly fallback?: boolean | undefined;
  /** Load its records too. */
  readonly records?: boolean | undefined;
  /** The most bytes that the payload may have. Default: what this machine's memory could hold. */
  readonly maxBytes?: Integer | undefined;
  /** Called while a payload is streamed. */
  readonly progress?: Progress | undefined;
}

/** Options of {@link Client.loadTo}. */
export interface LoadToOptions extends Omit<LoadOptions, "records"> {
  /** The part. Default: the default part or the only one. */
  readonly part?: string | undefined;
}

/** Options of {@link Client.resume}. */
export interface ResumeOptions extends Omit<LoadOptions, "checkpointId" | "acceptedFormats"> {
  /** The format that the caller works with. */
  readonly format: Format;
  /** Bring older versions to it. */
  readonly migrations?: Migrations | undefined;
}

/** Conditions on checkpoints: all that are given must be met. */
export interface Filter {
  /** The labels that a checkpoint must have. */
  readonly labels?: Labels | undefined;
  /** The earliest time of its save. */
  readonly createdAfter?: Date | undefined;
  /** The time before which it was saved. */
  readonly createdBefore?: Date | undefined;
  /** The formats of which it must have one. */
  readonly formats?: readonly AcceptedFormat[] | undefined;
}

/** Options of a list. `timeoutMs` is for all pages together; the caller's own time between them is free. */
export interface PageOptions extends CallOptions {
  /** How many to request at a time. Default: the server chooses. */
  readonly pageSize?: number | undefined;
}

/** Options of {@link Client.list}. */
export interface ListOptions extends PageOptions, Filter {
  /** The workflow. Default: every workflow of the namespace, one after the other. */
  readonly workflowId?: string | undefined;
  /** The id of a checkpoint; list only older ones. */
  readonly before?: string | undefined;
  /** Return only the id, workflow and revision of each checkpoint. */
  readonly idsOnly?: boolean | undefined;
  /** Throw where a commit marker is damaged, because a checkpoint may be missing there. Default: leave it out. */
  readonly strict?: boolean | undefined;
}

/** Options of {@link Client.history}. */
export interface HistoryOptions extends Omit<ListOptions, "idsOnly" | "strict"> {
  /** Load their records too. */
  readonly records?: boolean | undefined;
  /** Throw where a checkpoint has another format. Default: any. */
  readonly acceptedFormats?: readonly AcceptedFormat[] | undefined;
  /** The most bytes that each payload may have. */
  readonly maxBytes?: Integer | undefined;
}

/** What a validation reads: the marker, also whether the bytes exist, or also the bytes. */
export type Depth = "marker" | "presence" | "checksum";

/** Options of {@link Client.validate}. */
export interface ValidateOptions extends HeadOptions {
  /** The checkpoint. Default: the newest. */
  readonly checkpointId?: string | undefined;
  /** What to read. Default: "checksum". */
  readonly depth?: Depth | undefined;
  /** Any other format is a finding. Default: any format will do. */
  readonly acceptedFormats?: readonly AcceptedFormat[] | undefined;
}

/** Options of {@link Client.acquireWriter}. */
export interface AcquireOptions extends ChangeOptions {
  /** Acquire only if since this revision nobody has saved, deleted the whole workflow, or acquired it. */
  readonly expectedRevision?: Integer | undefined;
  /** How long to refuse others without `force`, from now and from each save; in milliseconds. Default: not at all. */
  readonly leaseMs?: number | undefined;
  /** The name of the lease's holder, shown to others. Default: this host and process. */
  readonly holder?: string | undefined;
  /** Evict the holder of a lease that has not ended. */
  readonly force?: boolean | undefined;
}

/** Options of a deletion. */
export interface DeleteOptions extends WriteOptions {
  /** Remove the bytes before the call returns, and not only after the store's grace. */
  readonly purge?: boolean | undefined;
}
