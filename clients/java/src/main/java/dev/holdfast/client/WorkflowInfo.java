package dev.holdfast.client;

import java.time.Instant;

/**
 * A workflow, according to the head of its log.
 *
 * @param namespace the namespace
 * @param workflowId the workflow
 * @param headRevision the revision of the head
 * @param checkpointRevision the newest revision that holds a checkpoint; 0 for none
 * @param epoch the epoch of its newest writer; 0 for none
 * @param updated when the head was written
 */
public record WorkflowInfo(
    String namespace,
    String workflowId,
    long headRevision,
    long checkpointRevision,
    long epoch,
    Instant updated) {}
