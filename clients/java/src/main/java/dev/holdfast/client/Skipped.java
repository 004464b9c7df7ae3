package dev.holdfast.client;

/**
 * A checkpoint that was skipped, or a finding against one.
 *
 * @param checkpointId its id; "" if its marker cannot be read
 * @param revision its revision
 * @param reason the reason, such as "CHECKPOINT_CORRUPTED"
 * @param message the reason in words
 */
public record Skipped(String checkpointId, long revision, String reason, String message) {}
