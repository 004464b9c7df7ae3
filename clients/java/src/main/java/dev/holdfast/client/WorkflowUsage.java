package dev.holdfast.client;

import dev.holdfast.v1.GetUsageRequest;
import java.util.OptionalLong;

/**
 * What a workflow takes in the store. {@code liveBytes}, {@code deletedBytes}, {@code recordBytes}
 * and {@code indexBytes} add up to {@code storedBytes}.
 *
 * @param workflowId the workflow; "" if damage hides its name
 * @param keyPrefix what the keys of its objects begin with
 * @param headRevision the newest revision of its log; 0 if it has only remains of saves that failed
 * @param objects objects in the store, whether they are needed or wait for a collection
 * @param storedBytes their bytes
 * @param recordBytes of these, the records
 * @param indexBytes of these, the claims and indexes of checkpoint ids
 * @param checkpoints live checkpoints; empty if they were not counted
 * @param sizeBytes bytes of their payloads as they were saved; empty if they were not counted
 * @param liveBytes of {@code storedBytes}, live entries of the log and the parts of live
 *     checkpoints; empty if they were not counted
 * @param deletedBytes of {@code storedBytes}, the rest: deleted checkpoints that wait for a
 *     collection or that live ones rest on, old entries of the log, remains of saves that failed;
 *     empty if they were not counted
 * @param damagedMarkers revisions that may be checkpoints and cannot be read; they are not in
 *     {@code checkpoints}
 */
public record WorkflowUsage(
    String workflowId,
    String keyPrefix,
    long headRevision,
    long objects,
    long storedBytes,
    long recordBytes,
    long indexBytes,
    OptionalLong checkpoints,
    OptionalLong sizeBytes,
    OptionalLong liveBytes,
    OptionalLong deletedBytes,
    long damagedMarkers) {

  static WorkflowUsage of(dev.holdfast.v1.WorkflowUsage found, GetUsageRequest request) {
    String id = found.getWorkflowId();
    boolean isRequested =
        request.getWorkflowId().isEmpty()
            ? id.startsWith(request.getWorkflowIdPrefix())
            : id.equals(request.getWorkflowId());
    if (!isRequested) {
      throw Reasons.wrong("the usage of workflow '" + id + "', which was not requested");
    }
    return new WorkflowUsage(
        id,
        found.getKeyPrefix(),
        counted(found.getHeadRevision()),
        counted(found.getObjects()),
        counted(found.getStoredBytes()),
        counted(found.getRecordBytes()),
        counted(found.getIndexBytes()),
        counted(found.hasCheckpoints(), found.getCheckpoints()),
        counted(found.hasSizeBytes(), found.getSizeBytes()),
        counted(found.hasLiveBytes(), found.getLiveBytes()),
        counted(found.hasDeletedBytes(), found.getDeletedBytes()),
        counted(found.getDamagedMarkers()));
  }

  static OptionalLong counted(boolean isThere, long figure) {
    return isThere ? OptionalLong.of(counted(figure)) : OptionalLong.empty();
  }

  static long counted(long figure) {
    if (figure < 0) {
      throw Reasons.wrong("the figure " + figure + " in a usage");
    }
    return figure;
  }
}
