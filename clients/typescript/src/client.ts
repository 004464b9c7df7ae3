// The client: each method makes the request of its arguments.
import type { Interceptor } from "@grpc/grpc-js";
import { hostname } from "node:os";

import { requireAllDeleted, validated } from "./answers.js";
import * as arguments_ from "./arguments.js";
import { type CallOptions, Caller } from "./calls.js";
import { Connection, type Request } from "./connection.js";
import {
  CheckpointView,
  Fallback,
  type FailedDeletion,
  type ListFilter,
  type ListRequest,
  type LoadRequest,
  ValidateDepth,
} from "./generated/holdfast/v1/checkpoint_service.js";
import { Head } from "./heads.js";
import { Lists } from "./lists.js";
import { type Loading, Loads } from "./loads.js";
import { toDate } from "./messages.js";
import { Migrations } from "./migrations.js";
import type {
  AcquireOptions,
  ChangeOptions,
  DeleteOptions,
  Filter,
  HeadOptions,
  HistoryOptions,
  ListOptions,
  LoadOptions,
  LoadToOptions,
  PageOptions,
  ResumeOptions,
  SaveOptions,
  ValidateOptions,
  WriteOptions,
} from "./options.js";
import type { Data, Outgoing } from "./payload.js";
import { wrongAnswer } from "./reasons.js";
import { Records } from "./records.js";
import { type RetryPolicy, retryPolicy } from "./retry.js";
import { prepared, save } from "./saves.js";
import type { Target } from "./sinks.js";
import { type Tls, destination } from "./targets.js";
import { KeptToken, type Token } from "./tokens.js";
import type {
  Capabilities,
  Checkpoint,
  CheckpointRecord,
  LoadedCheckpoint,
  LoadedFile,
  Validation,
  WorkflowInfo,
  Writer,
} from "./values.js";
import { Workflow } from "./workflow.js";

const DEPTHS = { marker: ValidateDepth.MARKER, presence: ValidateDepth.PRESENCE, checksum: ValidateDepth.CHECKSUM };

/** Options of a {@link Client}. */
export interface ClientOptions {
  /** Milliseconds for a logical call with all its retries, if the call sets none. Default: 30000. */
  readonly timeoutMs?: number | undefined;
  /** How to retry. */
  readonly retry?: RetryPolicy | undefined;
  /** Name and version of the calling program, stored with each checkpoint. */
  readonly producer?: { readonly name: string; readonly version?: string | undefined } | undefined;
  /** Whether and how to use TLS. Default: for a target grpcs://host:port, with the authorities of Node.js. */
  readonly tls?: Tls | boolean | undefined;
  /**
   * The token that shows the server who calls, or a function that returns one. The function is called before the first
   * call, and again when a server has refused the token.
   */
  readonly token?: Token | undefined;
  /** Whether the token may be sent in plaintext to another machine. */
  readonly insecure?: boolean | undefined;
  /**
   * Interceptors of gRPC, for every call. They see the messages of the API. A call to which one adds metadata is not
   * carried in a pipeline.
   */
  readonly interceptors?: readonly Interceptor[] | undefined;
}

/**
 * A client of one Holdfast server.
 *
 * @example
 * ```ts
 * await using client = new Client("127.0.0.1:7433");
 * await client.save("my-app", "run-42", bytes, { format: { name: "my-engine", version: 1 } });
 * const { data } = await client.load("my-app", "run-42");
 * ```
 *
 * Every method can fail with a {@link HoldfastError}: there is a subclass for each reason. A wrong type of an argument is
 * a `TypeError`.
 */
export class Client {
  readonly #connection: Connection;
  readonly #caller: Caller;
  readonly #records: Records;
  readonly #loads: Loads;
  readonly #lists: Lists;
  readonly #producer: { name: string; version: string };

  /**
   * @param target - host:port, `grpcs://host:port` for TLS, another target of gRPC (`dns:`, `ipv4:`, `ipv6:`, `unix:`), or
   * several host:port with IP addresses, which are tried in turn.
   * @param options - Options.
   * @throws InvalidRequestError if an argument is not valid, or the token would be sent in plaintext to another machine.
   */
  constructor(target: string | readonly string[], options: ClientOptions = {}) {
    const { timeoutMs = 30_000, producer, token } = options;
    const to = destination(target, options.tls);
    if (token !== undefined && !to.isPrivate && !arguments_.flag("insecure", options.insecure)) {
      const problem = `would be sent in plaintext to ${arguments_.shown(to.target)}, where others can read it: use TLS, or allow it with insecure: true`;
      throw arguments_.invalid("token", problem);
    }
    this.#producer = {
      name: arguments_.text("producer.name", producer?.name ?? ""),
      version: arguments_.text("producer.version", producer?.version ?? ""),
    };
    const policy = retryPolicy(options.retry);
    const kept = token === undefined ? undefined : new KeptToken(token);
    const checkedTimeout = arguments_.milliseconds("timeoutMs", timeoutMs);
    this.#connection = new Connection(to, options.interceptors ?? []);
    this.#caller = new Caller(this.#connection, policy, kept, checkedTimeout);
    this.#records = new Records(this.#caller);
    this.#loads = new Loads(this.#caller, this.#records);
    this.#lists = new Lists(this.#caller, this.#loads, this.#records);
  }

  /** Close the client for good. Running and later calls fail with {@link ClientClosedError}. */
  close(): void {
    this.#connection.close();
  }

  /** Close the client, at the end of an `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
    return Promise.resolve();
  }

  /** Return a handle of one workflow, which carries revision and epoch from call to call. */
  workflow(namespace: string, workflowId: string): Workflow {
    return new Workflow(this, arguments_.text("namespace", namespace), arguments_.text("workflowId", workflowId));
  }

  /**
   * Return the newest head of a workflow that this client has seen; undefined if it remembers none. Keep its text, and
   * give it to a later client as `notBefore: Head.parse(text)`.
   */
  head(namespace: string, workflowId: string): Head | undefined {
    return this.#caller.heads.get(namespace, workflowId);
  }

  /** Forget the head of a workflow, after an operator has restored an older store on purpose. */
  forgetHead(namespace: string, workflowId: string): void {
    this.#caller.heads.forget(namespace, workflowId);
  }

  /**
   * Save a checkpoint, of any size.
   *
   * @param namespace - The namespace.
   * @param workflowId - The workflow.
   * @param data - The payload. An array of more than 1 MiB and a Blob must not change while they are saved.
   * @param options - The format, and options.
   * @returns The checkpoint as it was committed.
   */
  async save(namespace: string, workflowId: string, data: Data, options: SaveOptions): Promise<Checkpoint> {
    return this.saveOutgoing(namespace, workflowId, data, options);
  }

  /**
   * Prepare a payload for several saves.
   *
   * @internal
   */
  async prepared(data: Data, signal: AbortSignal | undefined): Promise<Outgoing> {
    return prepared(this.#caller, data, signal);
  }

  /**
   * Save a payload that may have been prepared before.
   *
   * @internal
   */
  async saveOutgoing(
    namespace: string,
    workflowId: string,
    data: Data | Outgoing,
    options: SaveOptions,
  ): Promise<Checkpoint> {
    const header = {
      ...names(namespace, workflowId),
      ...change(options),
      checkpointId: arguments_.optionalText("checkpointId", options.checkpointId),
      parentId: arguments_.optionalText("parentId", options.parentId),
      format: arguments_.format("format", options.format),
      producer: this.#producer,
      labels: arguments_.labels(options.labels),
      expectedRevision: arguments_.integer("expectedRevision", options.expectedRevision),
      epoch: arguments_.integer("epoch", options.epoch),
      ttl: arguments_.duration("ttlMs", options.ttlMs),
      replace: arguments_.flag("replace", options.replace),
      needsParent: arguments_.flag("needsParent", options.needsParent),
      pinned: arguments_.flag("pinned", options.pinned),
      freshId: arguments_.flag("freshId", options.freshId),
    };
    return save(this.#caller, header, data, options);
  }

  /**
   * Load a checkpoint with its payload, of any size, and check the payload's digests.
   *
   * @param namespace - The namespace.
   * @param workflowId - The workflow.
   * @param options - Which checkpoint, and options.
   * @throws WorkflowCheckpointResumeError - a subclass for each reason.
   */
  async load(namespace: string, workflowId: string, options: LoadOptions = {}): Promise<LoadedCheckpoint> {
    const request = loadRequest(namespace, workflowId, options);
    this.#keep(request, options);
    return this.#loads.load(request, this.#loading(options));
  }

  /**
   * Load a part of a checkpoint into a file or a stream, of any size: a few MiB of it are in memory at a time.
   *
   * The file at a path gets the part once the part is whole and matches its digest, and is as it was before otherwise. A
   * stream gets the bytes as they arrive; it is ended if the part is whole, and destroyed or aborted with the error
   * otherwise: its reader must not use the bytes before the end.
   *
   * @param namespace - The namespace.
   * @param workflowId - The workflow.
   * @param target - A path, whose folder must exist, or a stream of Node.js or of the Web.
   * @param options - Which checkpoint and part, and options. The time includes that of writing.
   */
  async loadTo(
    namespace: string,
    workflowId: string,
    target: Target,
    options: LoadToOptions = {},
  ): Promise<LoadedFile> {
    const part = options.part === undefined ? undefined : arguments_.text("part", options.part);
    const request = loadRequest(namespace, workflowId, options);
    const loading = this.#loading(options);
    this.#keep(request, options);
    return this.#loads.loadTo(request, target, part, { ...loading, maxBytes: loading.maxBytes ?? 2n ** 63n });
  }

  /**
   * Load the newest checkpoint, whole and in the caller's format.
   *
   * @param namespace - The namespace.
   * @param workflowId - The workflow.
   * @param options - The format, and options.
   * @throws WorkflowCheckpointResumeError - a subclass for each reason; `lastGood` is the newest checkpoint that could be
   * resumed from.
   */
  async resume(namespace: string, workflowId: string, options: ResumeOptions): Promise<LoadedCheckpoint> {
    const { format, migrations = new Migrations() } = options;
    arguments_.format("format", format);
    const acceptedFormats = [migrations.accepted(format)];
    const request = loadRequest(namespace, workflowId, { ...options, acceptedFormats });
    this.#keep(request, options);
    return this.#loads.resume(request, format, migrations, this.#loading(options));
  }

  /**
   * Check whether a workflow can be resumed. Damage is a finding, not an error.
   *
   * @param namespace - The namespace.
   * @param workflowId - The workflow.
   * @param options - Which checkpoint, and what to read.
   */
  async validate(namespace: string, workflowId: string, options: ValidateOptions = {}): Promise<Validation> {
    const depth = DEPTHS[options.depth ?? "checksum"] as ValidateDepth | undefined;
    if (depth === undefined) {
      throw arguments_.invalid(
        "depth",
        `must be one of ${Object.keys(DEPTHS).join(", ")}, not ${arguments_.shown(options.depth)}`,
      );
    }
    const request = {
      ...names(namespace, workflowId),
      checkpointId: arguments_.optionalText("checkpointId", options.checkpointId),
      depth,
      acceptedFormats: arguments_.acceptedFormats("acceptedFormats", options.acceptedFormats),
    };
    this.#keep(request, options);
    return validated(await this.#unary("validate", request, options), request);
  }

  /**
   * Iterate over checkpoints, newest first, over all pages.
   *
   * @param namespace - The namespace.
   * @param options - Which checkpoints.
   */
  list(namespace: string, options: ListOptions = {}): AsyncGenerator<Checkpoint> {
    const view = arguments_.flag("idsOnly", options.idsOnly) ? CheckpointView.ID : CheckpointView.METADATA;
    const isStrict = arguments_.flag("strict", options.strict);
    const request = listRequest(namespace, options, view);
    return this.#lists.checkpoints(request, this.#caller.budget(options), options.signal, isStrict);
  }

  /**
   * Iterate over checkpoints with their payloads, newest first. One request brings many small ones.
   *
   * @param namespace - The namespace.
   * @param options - Which checkpoints.
   * @throws CheckpointCorruptedError where a checkpoint is damaged, or may be missing.
   */
  history(namespace: string, options: HistoryOptions = {}): AsyncGenerator<LoadedCheckpoint> {
    const view = arguments_.flag("records", options.records) ? CheckpointView.FULL : CheckpointView.PAYLOAD;
    const request = listRequest(namespace, options, view);
    return this.#lists.history(request, options.acceptedFormats ?? [], this.#loading(options));
  }

  /**
   * Iterate over a namespace's workflows, over all pages.
   *
   * @param namespace - The namespace.
   * @param options - `prefix`: the text that their ids begin with.
   */
  listWorkflows(
    namespace: string,
    options: PageOptions & { readonly prefix?: string | undefined } = {},
  ): AsyncGenerator<WorkflowInfo> {
    const request = {
      namespace: arguments_.text("namespace", namespace),
      workflowIdPrefix: arguments_.optionalText("prefix", options.prefix),
      pageSize: pageSize(options),
      pageToken: "",
    };
    return this.#lists.workflows(request, this.#caller.budget(options), options.signal);
  }

  /**
   * Attach records to a checkpoint id, whether the checkpoint exists or not. Up to 3 MiB and 1000 records go in one call,
   * all of them or none. More records go in several calls, in order.
   *
   * @param namespace - The namespace.
   * @param workflowId - The workflow.
   * @param checkpointId - The checkpoint.
   * @param records - The records; one whose key exists is ignored, unless it replaces.
   * @param options - Options. `timeoutMs` is for each call.
   */
  async attach(
    namespace: string,
    workflowId: string,
    checkpointId: string,
    records: Iterable<CheckpointRecord>,
    options: WriteOptions = {},
  ): Promise<void> {
    const request = {
      ...names(namespace, workflowId),
      ...change(options),
      checkpointId: arguments_.text("checkpointId", checkpointId),
      epoch: arguments_.integer("epoch", options.epoch),
      records: [],
      observedStamp: 0n,
    };
    return this.#records.attach(request, records, options);
  }

  /**
   * Return the records of a checkpoint id, in the order of their keys, whether the checkpoint exists or not.
   *
   * @param namespace - The namespace.
   * @param workflowId - The workflow.
   * @param checkpointId - The checkpoint.
   * @param options - `maxBytes`: the most bytes that keys and data may have together. Default: 512 MiB.
   */
  async records(
    namespace: string,
    workflowId: string,
    checkpointId: string,
    options: PageOptions & { readonly maxBytes?: arguments_.Integer | undefined } = {},
  ): Promise<readonly CheckpointRecord[]> {
    const request = {
      ...names(namespace, workflowId),
      checkpointId: arguments_.text("checkpointId", checkpointId),
      pageSize: pageSize(options),
      pageToken: "",
    };
    const { budget, signal, maxBytes } = this.#loading(options);
    return this.#records.read(request, budget, signal, maxBytes);
  }

  /**
   * Become the only writer of a workflow: from now on, saves with a lower epoch are refused.
   *
   * With a lease, a second worker that was started by accident is refused instead of evicting the first. The lease is
   * courtesy, judged by the clocks of servers: only the epoch keeps an evicted writer from committing.
   *
   * @param namespace - The namespace.
   * @param workflowId - The workflow, which need not exist yet.
   * @param options - Options.
   */
  async acquireWriter(namespace: string, workflowId: string, options: AcquireOptions = {}): Promise<Writer> {
    const { leaseMs, holder = leaseMs === undefined ? "" : thisProcess() } = options;
    const request = {
      ...names(namespace, workflowId),
      ...change(options),
      expectedRevision: arguments_.integer("expectedRevision", options.expectedRevision),
      lease: arguments_.duration("leaseMs", leaseMs),
      holder: arguments_.text("holder", holder),
      force: arguments_.flag("force", options.force),
    };
    const { epoch, revision, leaseExpireTime } = await this.#unary("acquireWriter", request, options);
    if (epoch < 1n || revision < 1n) {
      throw wrongAnswer(`a writer with epoch ${epoch} and revision ${revision}`);
    }
    return { epoch, revision, leaseExpires: leaseExpireTime && toDate(leaseExpireTime) };
  }

  /**
   * Delete a checkpoint.
   *
   * @param namespace - The namespace.
   * @param workflowId - The workflow.
   * @param checkpointId - The checkpoint.
   * @param options - Options.
   * @returns The revision of the deletion, the log's new head.
   */
  async delete(
    namespace: string,
    workflowId: string,
    checkpointId: string,
    options: DeleteOptions = {},
  ): Promise<bigint> {
    const request = {
      ...names(namespace, workflowId),
      ...deletion(options),
      checkpointId: arguments_.text("checkpointId", checkpointId),
    };
    return (await this.#unary("delete", request, options)).revision;
  }

  /**
   * Delete every checkpoint of a workflow.
   *
   * @param namespace - The namespace.
   * @param workflowId - The workflow.
   * @param options - Options.
   * @returns The revision of the deletion, the log's new head.
   */
  async deleteWorkflow(namespace: string, workflowId: string, options: DeleteOptions = {}): Promise<bigint> {
    const request = { ...names(namespace, workflowId), ...deletion(options) };
    return (await this.#unary("deleteWorkflow", request, options)).revision;
  }

  /**
   * Delete every checkpoint and all records of the workflows whose ids begin with a prefix.
   *
   * @param namespace - The namespace.
   * @param prefix - The text that the ids begin with. "a" also matches "ab": end it with a separator.
   * @param options - `all`: delete every workflow of the namespace; the prefix must be "". `timeoutMs` is for each page
   * that deletes something.
   * @returns How many workflows that held checkpoints were deleted.
   */
  async deleteWorkflows(
    namespace: string,
    prefix: string,
    options: Omit<DeleteOptions, "epoch"> & { readonly all?: boolean | undefined } = {},
  ): Promise<bigint> {
    const request = {
      namespace: arguments_.text("namespace", namespace),
      workflowIdPrefix: arguments_.text("prefix", prefix),
      ...change(options),
      all: arguments_.flag("all", options.all),
      purge: arguments_.flag("purge", options.purge),
      pageToken: "",
    };
    let deleted = 0n;
    const failed: FailedDeletion[] = [];
    const pages = this.#caller.pages("deleteWorkflows", request, this.#caller.budget(options), options.signal);
    for await (const page of pages) {
      deleted += page.deleted;
      failed.push(...page.failed);
    }
    requireAllDeleted(failed, deleted, request.requestId);
    return deleted;
  }

  /**
   * Delete the checkpoints that match a filter. Labels or a time are required unless `all` is set, so that a condition
   * that was lost on its way here does not delete everything. A condition that is undefined is a TypeError: leave it out.
   *
   * @param namespace - The namespace.
   * @param options - The filter. `timeoutMs` is for each page that deletes something.
   * @returns How many were deleted.
   */
  async deleteCheckpoints(
    namespace: string,
    options: WriteOptions & Filter & { readonly workflowId?: string | undefined; readonly all?: boolean | undefined },
  ): Promise<bigint> {
    arguments_.requireStated(options, ["workflowId", ...FILTERS, "all"], [...CHANGES, "epoch"]);
    const request = {
      ...names(namespace, arguments_.optionalText("workflowId", options.workflowId)),
      ...change(options),
      filter: filter(options),
      epoch: arguments_.integer("epoch", options.epoch),
      all: arguments_.flag("all", options.all),
      pageToken: "",
    };
    let deleted = 0n;
    const pages = this.#caller.pages("deleteCheckpoints", request, this.#caller.budget(options), options.signal);
    for await (const page of pages) {
      deleted += page.deleted;
    }
    return deleted;
  }

  /**
   * Delete a workflow's checkpoints, except the newest ones and those that these need.
   *
   * @param namespace - The namespace.
   * @param workflowId - The workflow.
   * @param options - `keepLast`: how many of the newest checkpoints to keep. Default: 1. A TypeError if it is undefined.
   * @returns How many were deleted.
   */
  async prune(
    namespace: string,
    workflowId: string,
    options: WriteOptions & { readonly keepLast?: number | undefined } = {},
  ): Promise<bigint> {
    arguments_.requireStated(options, ["keepLast"], [...CHANGES, "epoch"]);
    const request = {
      ...names(namespace, workflowId),
      ...change(options),
      keepLast: arguments_.small("keepLast", options.keepLast ?? 1, 0, 2 ** 31 - 1),
      epoch: arguments_.integer("epoch", options.epoch),
    };
    return (await this.#unary("prune", request, options)).deleted;
  }

  /**
   * Copy all checkpoints of a workflow, with their records, into a workflow that has none.
   *
   * @param namespace - The namespace of both.
   * @param workflowId - The workflow to copy.
   * @param targetWorkflowId - The workflow to copy into.
   * @param options - Options.
   * @returns How many checkpoints were copied.
   */
  async copyWorkflow(
    namespace: string,
    workflowId: string,
    targetWorkflowId: string,
    options: ChangeOptions = {},
  ): Promise<bigint> {
    const request = {
      ...names(namespace, workflowId),
      ...change(options),
      targetWorkflowId: arguments_.text("targetWorkflowId", targetWorkflowId),
    };
    return (await this.#unary("copyWorkflow", request, options)).copied;
  }

  /** Return the server's version, features and limits. */
  async capabilities(options: CallOptions = {}): Promise<Capabilities> {
    const { limits, ...found } = await this.#unary("getCapabilities", {}, options);
    return { ...found, limits: { ...limits } };
  }

  #unary<M extends Parameters<Caller["unary"]>[0]>(method: M, request: Request<M>, options: CallOptions) {
    const { signal } = options;
    return this.#caller
      .budget(options)
      .spend((timeoutMs) => this.#caller.unary(method, request, { timeoutMs, signal }));
  }

  /** Note a head that the caller has seen. */
  #keep({ namespace, workflowId }: { namespace: string; workflowId: string }, { notBefore }: HeadOptions): void {
    if (notBefore !== undefined && !(notBefore instanceof Head)) {
      throw new TypeError(`notBefore must be a Head, not ${arguments_.shown(notBefore)}`);
    }
    if (notBefore !== undefined) {
      this.#caller.heads.keep(namespace, workflowId, notBefore);
    }
  }

  #loading(options: CallOptions & Pick<LoadOptions, "maxBytes" | "progress">): Loading {
    const { signal, progress } = options;
    return {
      budget: this.#caller.budget(options),
      signal,
      progress,
      maxBytes: arguments_.integer("maxBytes", options.maxBytes),
    };
  }
}

// Options by which a deletion selects, and of every call that changes something.
const FILTERS = ["labels", "createdAfter", "createdBefore", "formats"] as const;
const CHANGES = ["requestId", "timeoutMs", "signal"] as const;

function names(namespace: string, workflowId: string) {
  return {
    namespace: arguments_.text("namespace", namespace),
    workflowId: arguments_.text("workflowId", workflowId),
  };
}

/** Return the fields of every request that changes something. Each attempt sets its own `attempt`. */
function change({ requestId }: ChangeOptions) {
  return {
    requestId: requestId === undefined ? arguments_.newRequestId() : arguments_.text("requestId", requestId),
    attempt: undefined,
  };
}

function deletion(options: DeleteOptions) {
  return {
    ...change(options),
    epoch: arguments_.integer("epoch", options.epoch),
    purge: arguments_.flag("purge", options.purge),
  };
}

function filter(options: Filter): ListFilter {
  return {
    labels: arguments_.labels(options.labels),
    createdAfter: arguments_.moment("createdAfter", options.createdAfter),
    createdBefore: arguments_.moment("createdBefore", options.createdBefore),
    formats: arguments_.acceptedFormats("formats", options.formats),
  };
}

function pageSize(options: PageOptions): number {
  return arguments_.small("pageSize", options.pageSize ?? 0, 0, 2 ** 31 - 1);
}

function listRequest(
  namespace: string,
  options: Omit<ListOptions, "idsOnly" | "strict">,
  view: CheckpointView,
): ListRequest {
  return {
    ...names(namespace, arguments_.optionalText("workflowId", options.workflowId)),
    pageSize: pageSize(options),
    pageToken: "",
    filter: filter(options),
    beforeCheckpointId: arguments_.optionalText("before", options.before),
    view,
  };
}

function loadRequest(namespace: string, workflowId: string, options: LoadOptions): LoadRequest {
  return {
    ...names(namespace, workflowId),
    checkpointId: arguments_.optionalText("checkpointId", options.checkpointId),
    acceptedFormats: arguments_.acceptedFormats("acceptedFormats", options.acceptedFormats),
    fallback: arguments_.flag("fallback", options.fallback) ? Fallback.LAST_GOOD : Fallback.NONE,
    view: arguments_.flag("records", options.records) ? CheckpointView.FULL : CheckpointView.PAYLOAD,
  };
}

/** Return this host's name and this process's id, such as "worker-7:4711", within the limits of a name. */
function thisProcess(): string {
  return `${hostname()
    .replace(/[^A-Za-z0-9._-]/g, "-")
    .slice(0, 100)}:${process.pid}`;
}
