package dev.holdfast.client;

import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * A committed checkpoint, without its payload.
 *
 * @param namespace the namespace
 * @param workflowId the workflow
 * @param checkpointId the id, unique in the workflow
 * @param revision its revision in the log of the workflow
 * @param parentId the checkpoint that it was made from; "" for none
 * @param format the format of its payload
 * @param labels its labels
 * @param parts the parts of its payload, in the order in which they were saved
 * @param sizeBytes the bytes of all parts
 * @param created when it was committed
 * @param expires when its ttl ends; empty for never
 * @param epoch the epoch of the writer that saved it; 0 for none
 * @param requestId the idempotency key of its save
 * @param traceId the trace of its save, 32 hex digits
 * @param replayed whether an earlier attempt of the same save had committed it
 * @param pinned whether retention and prunes keep it
 * @param principal the name of the caller that saved it; "" if the server did not authenticate it
 */
public record Checkpoint(
    String namespace,
    String workflowId,
    String checkpointId,
    long revision,
    String parentId,
    Format format,
    Map<String, String> labels,
    List<PartInfo> parts,
    long sizeBytes,
    Instant created,
    Optional<Instant> expires,
    long epoch,
    String requestId,
    String traceId,
    boolean replayed,
    boolean pinned,
    String principal) {}
