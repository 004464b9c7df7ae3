package dev.holdfast.client;

/** The kind of an entry of a workflow's log. */
public enum LogEntryKind {
  /** A checkpoint. */
  CHECKPOINT,
  /** A fence: a writer was given a new epoch. */
  FENCE,
  /** The deletion of one or more checkpoints. */
  DELETION,
  /** The deletion of the whole workflow. */
  WORKFLOW_DELETION,
  /** A garbage collection. */
  COLLECTION,
  /** A range of entries that a collection or a deletion of the workflow has passed. */
  COLLECTED,
  /** An entry that cannot be read, or a range of entries that are missing. */
  DAMAGED,
  /** A kind that this client does not know, from a newer server. */
  UNKNOWN;

  static LogEntryKind of(dev.holdfast.v1.LogEntryKind kind) {
    return switch (kind) {
      case LOG_ENTRY_KIND_CHECKPOINT -> CHECKPOINT;
      case LOG_ENTRY_KIND_FENCE -> FENCE;
      case LOG_ENTRY_KIND_DELETION -> DELETION;
      case LOG_ENTRY_KIND_WORKFLOW_DELETION -> WORKFLOW_DELETION;
      case LOG_ENTRY_KIND_COLLECTION -> COLLECTION;
      case LOG_ENTRY_KIND_COLLECTED -> COLLECTED;
      case LOG_ENTRY_KIND_DAMAGED -> DAMAGED;
      default -> UNKNOWN;
    };
  }
}
