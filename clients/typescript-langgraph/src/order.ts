// Which checkpoint of a workflow is the latest one, as the adapter for Python stores it.
//
// LangGraph's latest checkpoint is the one with the largest id; Holdfast's newest is the one that was saved last. They are
// the same while ids increase from save to save. A checkpoint whose id is not larger than all ids before it, and every
// checkpoint after that, has the largest id as a label, so a reader of the newest checkpoint finds the latest one. This
// holds for any number of writers: a save commits only right after the revision up to which its saver knows the ids.
import type { Checkpoint } from "@holdfast/client";

import { decoded, encoded } from "./names.js";

const LABEL = "largest";

/** The order of a workflow's checkpoints at a revision. */
export interface Order {
  /** The largest id; "" if there is no checkpoint. */
  readonly largestId: string;
  /** Whether the checkpoint with the largest id may not be the newest one. */
  readonly isMixed: boolean;
  readonly revision: bigint;
}

/** Return the order according to the newest checkpoint, at a later revision if the log has gone on since. */
export function orderOf(newest: Checkpoint | undefined, revision = 0n): Order {
  if (newest === undefined) {
    return { largestId: "", isMixed: false, revision };
  }
  const largest = newest.labels[LABEL];
  return {
    largestId: decoded(largest ?? newest.checkpointId),
    isMixed: largest !== undefined,
    revision: revision > newest.revision ? revision : newest.revision,
  };
}

/** Return the order after a checkpoint is saved as a revision. */
export function withId(order: Order, checkpointId: string, revision: bigint): Order {
  const largestId = checkpointId > order.largestId ? checkpointId : order.largestId;
  return { largestId, isMixed: order.isMixed || checkpointId < largestId, revision };
}

/** Return the additional labels of a checkpoint that is saved in an order. */
export function labelsOf(order: Order): Record<string, string> {
  return order.isMixed ? { [LABEL]: encoded(order.largestId) } : {};
}

/** Return whether a checkpoint with these labels, or one before it, was saved out of the order of ids. */
export function isMixed(labels: Readonly<Record<string, string>>): boolean {
  return LABEL in labels;
}
