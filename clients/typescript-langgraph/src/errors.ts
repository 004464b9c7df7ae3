// Errors that the saver itself raises.
import { CheckpointCorruptedError, CheckpointDeletedError, FormatIncompatibleError, REASONS } from "@holdfast/client";

/** Return the error of a checkpoint whose stored data was not made by the saver, or is damaged. */
export function corrupted(message: string): CheckpointCorruptedError {
  return new CheckpointCorruptedError(message, { reason: "CHECKPOINT_CORRUPTED", ...REASONS.CHECKPOINT_CORRUPTED });
}

/** Return the error of a thread that was deleted since the run began. */
export function deleted(threadId: string): CheckpointDeletedError {
  const message = `thread ${threadId} was deleted since this run began`;
  return new CheckpointDeletedError(message, { reason: "CHECKPOINT_DELETED", ...REASONS.CHECKPOINT_DELETED });
}

/** Return the error of a thread that another adapter has saved. */
export function incompatible(message: string): FormatIncompatibleError {
  return new FormatIncompatibleError(message, { reason: "FORMAT_INCOMPATIBLE", ...REASONS.FORMAT_INCOMPATIBLE });
}
