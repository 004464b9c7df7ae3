// The saver: LangGraph's methods on the workflows of one Holdfast namespace.
import {
  CheckpointDeletedError,
  CheckpointNotFoundError,
  Client,
  type ClientOptions,
  type LoadedCheckpoint,
  RevisionConflictError,
  WorkflowNotFoundError,
} from "@holdfast/client";
import type { RunnableConfig } from "@langchain/core/runnables";
import {
  BaseCheckpointSaver,
  type ChannelVersions,
  type Checkpoint,
  type CheckpointListOptions,
  type CheckpointMetadata,
  type CheckpointPendingWrite,
  type CheckpointTuple,
  type PendingWrite,
  type SerializerProtocol,
  TASKS,
  WRITES_IDX_MAP,
  getCheckpointId,
  maxChannelVersion,
} from "@langchain/langgraph-checkpoint";
import { isDeepStrictEqual } from "node:util";

import * as contents from "./contents.js";
import { deleted, incompatible } from "./errors.js";
import { type Place, decoded, encoded, namespacesPrefix, placeOf, workflowOf } from "./names.js";
import { type Order, isMixed, labelsOf, orderOf, withId } from "./order.js";
import * as writes from "./writes.js";

// How many threads a saver remembers. One that was dropped is looked up again, which costs a call.
const MAX_ORDERS = 10_000;
const MAX_PAGE = 1000;
// The version of checkpoints from which on pending sends are in the checkpoint itself.
const SENDS_VERSION = 4;

/** Options of a {@link HoldfastSaver}. */
export interface HoldfastSaverOptions {
  /** The namespace of the threads. */
  readonly namespace: string;
  /** The serializer. Default: LangGraph's own. */
  readonly serde?: SerializerProtocol | undefined;
  /** Answer a damaged latest checkpoint with the newest older one that is whole. */
  readonly fallback?: boolean | undefined;
  /** Remove the bytes of a thread when `deleteThread` deletes it, instead of after the store's grace. */
  readonly purge?: boolean | undefined;
}

/**
 * A checkpoint saver of LangGraph.js that stores checkpoints in Holdfast.
 *
 * @example
 * ```ts
 * const saver = HoldfastSaver.fromTarget("127.0.0.1:7433", { namespace: "my-app" });
 * const graph = builder.compile({ checkpointer: saver });
 * ```
 *
 * Its methods fail with the errors of `@holdfast/client`: for example `CheckpointCorruptedError` if stored data is damaged,
 * `FormatIncompatibleError` if a thread was saved by LangGraph for Python.
 */
export class HoldfastSaver extends BaseCheckpointSaver {
  readonly #client: Client;
  readonly #options: HoldfastSaverOptions;
  readonly #orders = new Map<string, Order>();
  #ownsClient = false;

  /**
   * @param client - An open client, which the caller closes.
   * @param options - Options.
   */
  constructor(client: Client, options: HoldfastSaverOptions) {
    super(options.serde);
    this.#client = client;
    this.#options = options;
  }

  /**
   * Return a saver with a client of its own.
   *
   * @param target - host:port of the server, or any other target of a `Client`.
   * @param options - Options of the saver and of the client.
   */
  static fromTarget(target: string | readonly string[], options: HoldfastSaverOptions & ClientOptions): HoldfastSaver {
    const producer = { name: "langgraph-js", version: "" };
    const saver = new HoldfastSaver(new Client(target, { producer, ...options }), options);
    saver.#ownsClient = true;
    return saver;
  }

  /** Close the client, if the saver has made it. */
  close(): void {
    if (this.#ownsClient) {
      this.#client.close();
    }
  }

  /** Close the saver, at the end of an `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
    return Promise.resolve();
  }

  /** Return the checkpoint that a config names, or the thread's latest one; undefined if it does not exist. */
  override async getTuple(config: RunnableConfig): Promise<CheckpointTuple | undefined> {
    if (config.configurable?.["thread_id"] === undefined) {
      return undefined;
    }
    const place = placeIn(config);
    const checkpointId = getCheckpointId(config);
    try {
      const loaded = checkpointId ? await this.#load(place, encoded(checkpointId)) : await this.#loadLatest(place);
      return await this.#tuple(place, loaded);
    } catch (error) {
      if (isMissing(error)) {
        if (!checkpointId) {
          const head = error instanceof CheckpointNotFoundError ? error.metadata["revision"] : undefined;
          this.#remember(workflowOf(place), orderOf(undefined, BigInt(head ?? 0)));
        }
        return undefined;
      }
      throw error;
    }
  }

  /**
   * List checkpoints, one checkpoint namespace after another, in each the largest id first.
   *
   * @param config - May name a thread, a checkpoint namespace and a checkpoint.
   * @param options - `before`, `limit`, and `filter`: values that the metadata must have.
   */
  override async *list(config: RunnableConfig, options: CheckpointListOptions = {}): AsyncGenerator<CheckpointTuple> {
    const { limit = Infinity, before, filter = {} } = options;
    const largest = before && getCheckpointId(before);
    const wanted = getCheckpointId(config);
    let left = limit;
    if (left <= 0) {
      return;
    }
    for await (const [place, loaded] of this.#candidates(config, filter, limit)) {
      const id = decoded(loaded.checkpointId);
      if ((wanted && id !== wanted) || (largest && id >= largest)) {
        continue;
      }
      const metadata: Readonly<Record<string, unknown>> = { ...(await contents.unpackMetadata(this.serde, loaded)) };
      if (!Object.entries(filter).every(([key, value]) => isDeepStrictEqual(metadata[key], value))) {
        continue;
      }
      yield await this.#tuple(place, loaded);
      left -= 1;
      if (left <= 0) {
        return;
      }
    }
  }

  /**
   * Save a checkpoint and return the config that names it.
   *
   * @throws CheckpointDeletedError if the thread was deleted since the run began.
   */
  override async put(
    config: RunnableConfig,
    checkpoint: Checkpoint,
    metadata: CheckpointMetadata,
    newVersions: ChannelVersions,
  ): Promise<RunnableConfig> {
    const place = placeIn(config);
    const workflowId = workflowOf(place);
    const parentId = getCheckpointId(config);
    const own = contents.withOwnValues(checkpoint, newVersions, Boolean(parentId));
    const parts = await contents.pack(this.serde, place, own, metadata);
    const needsParent = Boolean(parentId) && contents.needsParent(own, metadata);
    let order = this.#orders.get(workflowId) ?? (await this.#newestOrder(workflowId));
    for (;;) {
      const next = withId(order, checkpoint.id, order.revision);
      try {
        const saved = await this.#client.save(this.#options.namespace, workflowId, parts, {
          format: contents.FORMAT,
          checkpointId: encoded(checkpoint.id),
          parentId: parentId && encoded(parentId),
          labels: {
            ...contents.labelsOf({ ...metadata }),
            ...labelsOf(next),
            ...(needsParent ? { needs_parent: "1" } : {}),
          },
          // The save commits only if nothing was saved since the largest id was known. A put of the same checkpoint again,
          // or of a smaller id, may replace one.
          expectedRevision: order.revision,
          replace: true,
          freshId: checkpoint.id > order.largestId,
          needsParent,
        });
        this.#remember(workflowId, withId(order, checkpoint.id, saved.revision));
        return configOf(place, checkpoint.id);
      } catch (error) {
        if (!(error instanceof RevisionConflictError)) {
          throw error;
        }
        // Another writer has saved, perhaps a larger id, or has deleted the thread.
        if (parentId && (await this.#wasDeleted(workflowId, parentId))) {
          throw deleted(place.threadId);
        }
        order = await this.#newestOrder(workflowId, BigInt(error.metadata["head_revision"] ?? 0));
      }
    }
  }

  /** Attach a task's writes to a checkpoint, all or none. */
  override async putWrites(
    config: RunnableConfig,
    given: PendingWrite[],
    taskId: string,
    taskPath = "",
  ): Promise<void> {
    const place = placeIn(config);
    const checkpointId = getCheckpointId(config);
    if (!checkpointId) {
      throw new TypeError('config.configurable["checkpoint_id"] is missing: it names the checkpoint of the writes');
    }
    if (!given.length) {
      return;
    }
    const packed = writes.pack(
      await Promise.all(
        given.map(async ([channel, value], index) => {
          const [kind, data] = await this.serde.dumpsTyped(value);
          return { taskId, taskPath, index: WRITES_IDX_MAP[channel] ?? index, channel, kind, data };
        }),
      ),
    );
    for (const records of [packed.chunks, packed.final].filter((each) => each.length)) {
      await this.#client.attach(this.#options.namespace, workflowOf(place), encoded(checkpointId), records);
    }
  }

  /** Delete a thread with all its checkpoint namespaces. */
  override async deleteThread(threadId: string): Promise<void> {
    const { namespace, purge } = this.#options;
    const workflowId = workflowOf({ threadId: text("threadId", threadId), checkpointNs: "" });
    // What is known of the thread stays: by it, a run that goes on notices the deletion when it saves.
    try {
      await this.#client.deleteWorkflow(namespace, workflowId, { purge });
    } catch (error) {
      if (!isMissing(error)) {
        throw error;
      }
    }
    await this.#client.deleteWorkflows(namespace, namespacesPrefix(threadId), { purge });
  }

  async #load(place: Place, checkpointId: string | undefined, fallback = false): Promise<LoadedCheckpoint> {
    return this.#client.load(this.#options.namespace, workflowOf(place), {
      checkpointId,
      acceptedFormats: contents.ACCEPTED,
      fallback,
      records: true,
    });
  }

  async #loadLatest(place: Place): Promise<LoadedCheckpoint> {
    const newest = await this.#load(place, undefined, this.#options.fallback);
    const order = orderOf(newest.info, newest.headRevision);
    this.#remember(workflowOf(place), order);
    if (order.largestId === decoded(newest.checkpointId)) {
      return newest;
    }
    try {
      return await this.#load(place, encoded(order.largestId), this.#options.fallback);
    } catch (error) {
      if (!isMissing(error)) {
        throw error;
      }
    }
    // The largest one was deleted: the largest of those that remain is the latest.
    let largest = "";
    for await (const { checkpointId } of this.#client.list(this.#options.namespace, {
      workflowId: workflowOf(place),
      formats: contents.ACCEPTED,
      idsOnly: true,
    })) {
      largest = decoded(checkpointId) > largest ? decoded(checkpointId) : largest;
    }
    return this.#load(place, encoded(largest));
  }

  /** Return the current order of a workflow's checkpoints, at a revision that its log has reached. */
  async #newestOrder(workflowId: string, revision = 0n): Promise<Order> {
    try {
      for await (const newest of this.#client.list(this.#options.namespace, {
        workflowId,
        strict: true,
        pageSize: 1,
      })) {
        if (newest.format.name !== contents.FORMAT.name) {
          const { name, version } = newest.format;
          throw incompatible(
            `the thread has checkpoints of format ${name} version ${version}: another adapter has saved it`,
          );
        }
        return orderOf(newest, revision);
      }
    } catch (error) {
      if (!(error instanceof WorkflowNotFoundError)) {
        throw error;
      }
    }
    return orderOf(undefined, revision);
  }

  /** Return whether a checkpoint that existed was deleted with its whole workflow, not by itself. */
  async #wasDeleted(workflowId: string, checkpointId: string): Promise<boolean> {
    const found = this.#client.list(this.#options.namespace, {
      workflowId,
      before: encoded(checkpointId),
      idsOnly: true,
      pageSize: 1,
    });
    try {
      await found.next();
      return false;
    } catch (error) {
      if (isMissing(error)) {
        return !(error instanceof CheckpointDeletedError);
      }
      throw error;
    }
  }

  /** Load the checkpoints of a list before the filter by metadata. */
  async *#candidates(
    config: RunnableConfig,
    filter: Readonly<Record<string, unknown>>,
    limit: number,
  ): AsyncGenerator<[Place, LoadedCheckpoint]> {
    const { thread_id, checkpoint_ns } = (config.configurable ?? {}) as { thread_id?: unknown; checkpoint_ns?: string };
    const options = {
      labels: contents.labelsOf(filter),
      formats: contents.ACCEPTED,
      records: true,
      pageSize: Math.min(limit, MAX_PAGE),
    };
    if (thread_id === undefined) {
      for await (const loaded of sorted(this.#client.history(this.#options.namespace, options))) {
        const place = placeOf(loaded.info.workflowId, loaded.parts.get(contents.PLACE));
        if (place !== undefined && (checkpoint_ns === undefined || place.checkpointNs === checkpoint_ns)) {
          yield [place, loaded];
        }
      }
      return;
    }
    const threadId = threadIdOf(thread_id);
    const places =
      checkpoint_ns === undefined ? await this.#places(threadId) : [{ threadId, checkpointNs: checkpoint_ns }];
    for (const place of places) {
      try {
        const found = this.#client.history(this.#options.namespace, { ...options, workflowId: workflowOf(place) });
        for await (const loaded of sorted(found)) {
          yield [place, loaded];
        }
      } catch (error) {
        if (!(error instanceof WorkflowNotFoundError)) {
          throw error;
        }
      }
    }
  }

  /** Return the checkpoint namespaces of a thread that have checkpoints, after "", which may have none. */
  async #places(threadId: string): Promise<Place[]> {
    const found: Place[] = [];
    const { namespace } = this.#options;
    for await (const workflow of this.#client.listWorkflows(namespace, { prefix: namespacesPrefix(threadId) })) {
      if (workflow.checkpointRevision) {
        const place = placeOf(workflow.workflowId) ?? (await this.#storedPlace(workflow.workflowId));
        found.push(...(place ? [place] : []));
      }
    }
    found.sort((one, other) => (one.checkpointNs < other.checkpointNs ? -1 : 1));
    return [{ threadId, checkpointNs: "" }, ...found];
  }

  /** Return the place that the checkpoints of a workflow contain; undefined if the workflow was deleted. */
  async #storedPlace(workflowId: string): Promise<Place | undefined> {
    try {
      const loaded = await this.#client.load(this.#options.namespace, workflowId, { fallback: true });
      return placeOf(workflowId, loaded.parts.get(contents.PLACE));
    } catch (error) {
      if (isMissing(error)) {
        return undefined;
      }
      throw error;
    }
  }

  async #tuple(place: Place, loaded: LoadedCheckpoint): Promise<CheckpointTuple> {
    const parentId = decodedParent(loaded);
    const checkpoint = await contents.unpackCheckpoint(this.serde, loaded);
    if (checkpoint.v < SENDS_VERSION && parentId) {
      await this.#addPendingSends(place, checkpoint, parentId);
    }
    return {
      config: configOf(place, decoded(loaded.checkpointId)),
      checkpoint,
      metadata: await contents.unpackMetadata(this.serde, loaded),
      ...(parentId ? { parentConfig: configOf(place, parentId) } : {}),
      pendingWrites: await this.#pendingWrites(loaded.records),
    };
  }

  async #pendingWrites(records: LoadedCheckpoint["records"]): Promise<CheckpointPendingWrite[]> {
    return Promise.all(
      writes.unpack(records).map(async ({ taskId, channel, kind, data }): Promise<CheckpointPendingWrite> => {
        return [taskId, channel, await contents.restored(this.serde, kind, data, `a write to channel ${channel}`)];
      }),
    );
  }

  /** Add the sends of the parent's tasks to a checkpoint of an old version, which does not contain them. */
  async #addPendingSends(place: Place, checkpoint: Checkpoint, parentId: string): Promise<void> {
    const records = await this.#client.records(this.#options.namespace, workflowOf(place), encoded(parentId));
    const sends = (await this.#pendingWrites(records)).filter(([, channel]) => channel === TASKS);
    const versions = Object.values(checkpoint.channel_versions);
    checkpoint.channel_values[TASKS] = sends.map(([, , value]) => value);
    checkpoint.channel_versions[TASKS] = versions.length
      ? maxChannelVersion(...versions)
      : this.getNextVersion(undefined);
  }

  #remember(workflowId: string, order: Order): void {
    this.#orders.delete(workflowId);
    this.#orders.set(workflowId, order);
    if (this.#orders.size > MAX_ORDERS) {
      const [oldest] = this.#orders.keys();
      this.#orders.delete(oldest ?? "");
    }
  }
}

/** Sort the checkpoints of each workflow by descending id. Only those of a mixed order are held back. */
async function* sorted(found: AsyncIterable<LoadedCheckpoint>): AsyncGenerator<LoadedCheckpoint> {
  let held: LoadedCheckpoint[] = [];
  const release = () => {
    const released = held.sort((one, other) => (decoded(one.checkpointId) > decoded(other.checkpointId) ? -1 : 1));
    held = [];
    return released;
  };
  for await (const loaded of found) {
    if (held[0] !== undefined && held[0].info.workflowId !== loaded.info.workflowId) {
      yield* release();
    }
    if (held.length || isMixed(loaded.info.labels)) {
      held.push(loaded);
    } else {
      yield loaded;
    }
  }
  yield* release();
}

function decodedParent(loaded: LoadedCheckpoint): string {
  return loaded.info.parentId && decoded(loaded.info.parentId);
}

function configOf({ threadId, checkpointNs }: Place, checkpointId: string): RunnableConfig {
  return { configurable: { thread_id: threadId, checkpoint_ns: checkpointNs, checkpoint_id: checkpointId } };
}

function placeIn(config: RunnableConfig): Place {
  const { thread_id, checkpoint_ns } = (config.configurable ?? {}) as { thread_id?: unknown; checkpoint_ns?: unknown };
  if (thread_id === undefined) {
    throw new TypeError('config.configurable["thread_id"] is missing: it names the thread');
  }
  return { threadId: threadIdOf(thread_id), checkpointNs: text("checkpoint_ns", checkpoint_ns ?? "") };
}

function threadIdOf(given: unknown): string {
  return typeof given === "number" && Number.isSafeInteger(given) ? String(given) : text("thread_id", given);
}

function text(name: string, value: unknown): string {
  if (typeof value !== "string") {
    throw new TypeError(`${name} must be a string, not ${typeof value}`);
  }
  return value;
}

function isMissing(error: unknown): boolean {
  return (
    error instanceof WorkflowNotFoundError ||
    error instanceof CheckpointNotFoundError ||
    error instanceof CheckpointDeletedError
  );
}
