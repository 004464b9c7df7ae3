package dev.holdfast.client;

import java.time.Instant;
import java.util.Optional;
import java.util.OptionalLong;

/**
 * What a namespace has in the store, as its quotas count it.
 *
 * @param storedBytes bytes of all objects at the last collection of the server. If the namespace
 *     has a quota of what is stored, saves since then are added
 * @param workflows workflows that have checkpoints, counted in the same way
 * @param measured when that collection ended; empty if there was none since the server was started
 * @param storedBytesLimit the quota of bytes; empty if there is none
 * @param workflowsLimit the quota of workflows; empty if there is none
 */
public record NamespaceUsage(
    long storedBytes,
    long workflows,
    Optional<Instant> measured,
    OptionalLong storedBytesLimit,
    OptionalLong workflowsLimit) {

  static NamespaceUsage of(dev.holdfast.v1.NamespaceUsage found) {
    return new NamespaceUsage(
        WorkflowUsage.counted(found.getStoredBytes()),
        WorkflowUsage.counted(found.getWorkflows()),
        found.hasMeasureTime()
            ? Optional.of(Messages.instant(found.getMeasureTime()))
            : Optional.empty(),
        WorkflowUsage.counted(found.hasStoredBytesLimit(), found.getStoredBytesLimit()),
        WorkflowUsage.counted(found.hasWorkflowsLimit(), found.getWorkflowsLimit()));
  }
}
