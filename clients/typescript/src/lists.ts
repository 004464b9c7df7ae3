// Listing checkpoints and workflows, over all pages.
import { checkedParts, requireAccepted, requireListed, requireNamed, requireSizes } from "./answers.js";
import type { Budget } from "./budget.js";
import type { Caller } from "./calls.js";
import { status } from "@grpc/grpc-js";
import { HoldfastError } from "./errors.js";
import {
  CheckpointView,
  Fallback,
  type ListRequest,
  type ListResponse,
  type ListWorkflowsRequest,
} from "./generated/holdfast/v1/checkpoint_service.js";
import type { Loading, Loads } from "./loads.js";
import { toCheckpoint, toWorkflowInfo } from "./messages.js";
import { ofServer, wrongAnswer } from "./reasons.js";
import type { Records } from "./records.js";
import { type AcceptedFormat, type Checkpoint, LoadedCheckpoint, type WorkflowInfo } from "./values.js";

/** The calls of one client that list. */
export class Lists {
  constructor(
    private readonly caller: Caller,
    private readonly loads: Loads,
    private readonly records: Records,
  ) {}

  /** Iterate over checkpoints without their payloads, newest first. */
  async *checkpoints(
    request: ListRequest,
    budget: Budget,
    signal: AbortSignal | undefined,
    isStrict: boolean,
  ): AsyncGenerator<Checkpoint> {
    for await (const page of this.caller.pages("list", request, budget, signal)) {
      for (const message of page.checkpoints) {
        requireNamed(message, request.namespace, request.workflowId);
        if (isStrict) {
          requireWhole(page, request.workflowId ? message.revision : 0n);
        }
        yield toCheckpoint(message);
      }
      if (isStrict) {
        requireWhole(page);
      }
    }
  }

  /** Iterate over checkpoints with their payloads, newest first. */
  async *history(
    request: ListRequest,
    acceptedFormats: readonly AcceptedFormat[],
    loading: Loading,
  ): AsyncGenerator<LoadedCheckpoint> {
    const { budget, signal, maxBytes } = loading;
    for await (const page of this.caller.pages("list", request, budget, signal)) {
      this.records.observe(page.stamp);
      if (page.checkpoints.length !== page.contents.length) {
        throw wrongAnswer(`${page.checkpoints.length} checkpoints with ${page.contents.length} contents`);
      }
      for (const [index, message] of page.checkpoints.entries()) {
        requireNamed(message, request.namespace, request.workflowId);
        requireSizes(message, maxBytes);
        requireWhole(page, request.workflowId ? message.revision : 0n);
        requireAccepted(message, acceptedFormats);
        const content = page.contents[index];
        if (content?.payloadIncluded) {
          const parts = checkedParts(message, content.parts);
          const isFull = request.view === CheckpointView.FULL;
          const records = isFull ? await this.records.of(message, content, budget, signal) : [];
          yield new LoadedCheckpoint({ info: toCheckpoint(message), parts, records });
          continue;
        }
        const { namespace, workflowId, checkpointId } = message;
        const alone = {
          namespace,
          workflowId,
          checkpointId,
          acceptedFormats: [],
          fallback: Fallback.NONE,
          view: request.view,
        };
        let loaded: LoadedCheckpoint;
        try {
          loaded = await this.loads.load(alone, loading);
        } catch (error) {
          // A checkpoint that was deleted since the page was made is left out.
          if (error instanceof HoldfastError && ["CHECKPOINT_DELETED", "CHECKPOINT_NOT_FOUND"].includes(error.reason)) {
            continue;
          }
          throw error;
        }
        yield loaded;
      }
      requireWhole(page);
    }
  }

  /** Iterate over the workflows of a namespace. */
  async *workflows(
    request: ListWorkflowsRequest,
    budget: Budget,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<WorkflowInfo> {
    for await (const page of this.caller.pages("listWorkflows", request, budget, signal)) {
      for (const message of page.workflows) {
        requireListed(message, request.namespace, request.workflowIdPrefix);
        yield toWorkflowInfo(message);
      }
    }
  }
}

/** Throw if a marker between the checkpoints of a page is damaged, above a revision of the workflow. */
function requireWhole(page: ListResponse, above = 0n): void {
  const damaged = page.skipped.find((each) => each.revision > above);
  if (damaged !== undefined) {
    const metadata = { revision: String(damaged.revision) };
    throw ofServer(damaged.reason, damaged.message, { code: status.DATA_LOSS, metadata });
  }
}
