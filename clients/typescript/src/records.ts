// Records of checkpoints: attaching them in batches, reading them over all pages.
import { Collected } from "./answers.js";
import { bytes, flag, text } from "./arguments.js";
import type { Budget } from "./budget.js";
import type { CallOptions, Caller } from "./calls.js";
import type { Checkpoint, Record as RecordMessage } from "./generated/holdfast/v1/checkpoint.js";
import type { AttachRecordsRequest, ListRecordsRequest } from "./generated/holdfast/v1/checkpoint_service.js";
import type { CheckpointRecord } from "./values.js";

// The most that a server accepts in one call.
const BATCH_BYTES = 3 << 20;
const BATCH_RECORDS = 1000;

/**
 * The calls of one client that attach and read records. It remembers the newest stamp that the client has seen, so that
 * the records it attaches are ordered after everything it has read, whatever the clocks of the servers say.
 */
export class Records {
  #stamp = 0n;

  constructor(private readonly caller: Caller) {}

  /** Note a stamp that the client has seen. */
  observe(stamp: bigint): void {
    this.#stamp = stamp > this.#stamp ? stamp : this.#stamp;
  }

  /** Attach records, in as many calls as they need, in their order. The second call's request id gets a number. */
  async attach(
    request: AttachRecordsRequest,
    records: Iterable<CheckpointRecord>,
    options: CallOptions,
  ): Promise<void> {
    for (const [index, batch] of [...batches(records)].entries()) {
      const requestId = index ? `${request.requestId}-${index}` : request.requestId;
      const sent = { ...request, requestId, records: batch, observedStamp: this.#stamp };
      const response = await this.caller
        .budget(options)
        .spend((timeoutMs) => this.caller.unary("attachRecords", sent, { timeoutMs, signal: options.signal }));
      this.observe(response.stamp);
    }
  }

  /** Return the records of a checkpoint id, in the order of their keys. */
  async read(
    request: ListRecordsRequest,
    budget: Budget,
    signal: AbortSignal | undefined,
    maxBytes?: bigint,
  ): Promise<readonly CheckpointRecord[]> {
    const found = new Collected(maxBytes);
    for await (const page of this.caller.pages("listRecords", request, budget, signal)) {
      this.observe(page.stamp);
      found.add(page.records);
    }
    return found.records;
  }

  /** Return the records of a checkpoint: from an answer that includes them, otherwise by a call of its own. */
  async of(
    { namespace, workflowId, checkpointId }: Checkpoint,
    answer: { records: readonly RecordMessage[]; recordsIncluded: boolean; stamp?: bigint } | undefined,
    budget: Budget,
    signal: AbortSignal | undefined,
  ): Promise<readonly CheckpointRecord[]> {
    if (answer?.recordsIncluded) {
      this.observe(answer.stamp ?? 0n);
      const found = new Collected(undefined);
      found.add(answer.records);
      return found.records;
    }
    return this.read({ namespace, workflowId, checkpointId, pageToken: "", pageSize: 0 }, budget, signal);
  }
}

/** Divide records into batches that a server accepts in one call. */
function* batches(records: Iterable<CheckpointRecord>): Generator<RecordMessage[]> {
  let batch: RecordMessage[] = [];
  let size = 0;
  let index = 0;
  for (const record of records) {
    const name = `records[${index++}]`;
    const key = text(`${name}.key`, record.key);
    const data = bytes(`${name}.data`, record.data);
    const added = Buffer.byteLength(key) + data.length;
    if (batch.length && (size + added > BATCH_BYTES || batch.length === BATCH_RECORDS)) {
      yield batch;
      [batch, size] = [[], 0];
    }
    batch.push({ key, data, replace: flag(`${name}.replace`, record.replace) });
    size += added;
  }
  if (batch.length) {
    yield batch;
  }
}
