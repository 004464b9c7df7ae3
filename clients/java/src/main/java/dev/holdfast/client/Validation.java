package dev.holdfast.client;

import java.util.List;
import java.util.Optional;

/**
 * Whether a checkpoint can be resumed from.
 *
 * @param resumable whether it can
 * @param findings the findings against it
 * @param checkpoint the checkpoint; empty if it could not be read
 * @param lastGood the newest checkpoint that can be resumed from; empty if there is none
 */
public record Validation(
    boolean resumable,
    List<Skipped> findings,
    Optional<Checkpoint> checkpoint,
    Optional<Checkpoint> lastGood) {}
