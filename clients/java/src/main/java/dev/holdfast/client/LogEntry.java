package dev.holdfast.client;

import java.time.Instant;
import java.util.List;
import java.util.Optional;

/**
 * An entry of a workflow's log, or a range of entries that were collected or are missing.
 *
 * @param revision its revision; the last one of a range
 * @param kind its kind
 * @param firstRevision the first revision of a range; the same as {@code revision} of a single
 *     entry
 * @param created when it was committed; empty for collected and damaged entries, which have nothing
 *     of what follows but reason and message
 * @param epoch the highest epoch that any writer was given up to this entry; 0 for none
 * @param requestId the idempotency key of its call
 * @param traceId the trace of its call, 32 hex digits
 * @param principal the name of its caller; "" if the server did not authenticate callers
 * @param holder of a fence: the name of the lease's holder
 * @param leaseExpires of a fence: when its lease ends if nothing renews it; empty without a lease
 * @param checkpointId of a checkpoint: its id
 * @param checkpoint of a checkpoint: its metadata; empty if it was purged
 * @param deleted of a checkpoint: whether it was deleted since
 * @param deletionRevision of a deleted checkpoint: the entry that deleted it; 0 if that was not
 *     found with few requests
 * @param purged of a checkpoint: whether its content was purged
 * @param affected the revisions that this entry deleted, at most 100 ranges
 * @param moreAffected how many further ranges were left out
 * @param affectedCheckpointId of the deletion of one checkpoint: its id
 * @param reason of a damaged entry: the reason, such as "CHECKPOINT_CORRUPTED"
 * @param message of a damaged entry: what is wrong with it
 */
public record LogEntry(
    long revision,
    LogEntryKind kind,
    long firstRevision,
    Optional<Instant> created,
    long epoch,
    String requestId,
    String traceId,
    String principal,
    String holder,
    Optional<Instant> leaseExpires,
    String checkpointId,
    Optional<Checkpoint> checkpoint,
    boolean deleted,
    long deletionRevision,
    boolean purged,
    List<RevisionRange> affected,
    int moreAffected,
    String affectedCheckpointId,
    String reason,
    String message) {

  static LogEntry of(dev.holdfast.v1.LogEntry found) {
    LogEntryKind kind = LogEntryKind.of(found.getKind());
    boolean isWhole = kind == LogEntryKind.CHECKPOINT && !found.getPurged();
    return new LogEntry(
        found.getRevision(),
        kind,
        found.getFirstRevision(),
        found.hasCreateTime()
            ? Optional.of(Messages.instant(found.getCreateTime()))
            : Optional.empty(),
        found.getEpoch(),
        found.getRequestId(),
        found.getTraceId(),
        found.getPrincipal(),
        found.getHolder(),
        found.hasLeaseExpireTime()
            ? Optional.of(Messages.instant(found.getLeaseExpireTime()))
            : Optional.empty(),
        found.getCheckpoint().getCheckpointId(),
        isWhole ? Optional.of(Messages.checkpoint(found.getCheckpoint(), false)) : Optional.empty(),
        found.getDeleted(),
        found.getDeletionRevision(),
        found.getPurged(),
        found.getAffectedList().stream()
            .map(each -> new RevisionRange(each.getFirst(), each.getLast()))
            .toList(),
        found.getMoreAffected(),
        found.getAffectedCheckpointId(),
        found.getReason(),
        found.getMessage());
  }
}
