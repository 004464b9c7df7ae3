package dev.holdfast.client;

import java.util.List;

/**
 * A checkpoint of which one part was written to a file or a stream.
 *
 * @param info its metadata
 * @param part the part that was written
 * @param fellBack whether it is older than the checkpoint that was requested
 * @param skipped the checkpoints that a fallback skipped, newest first
 * @param headRevision the revision of the head, which may be a fence or a deletion; 0 if the head
 *     is damaged
 */
public record LoadedFile(
    Checkpoint info, PartInfo part, boolean fellBack, List<Skipped> skipped, long headRevision) {}
