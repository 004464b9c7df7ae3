package dev.holdfast.client;

import java.time.Instant;
import java.util.Optional;

/**
 * The ownership of a workflow.
 *
 * @param epoch the epoch of the writer, for its calls
 * @param revision the revision of the fence
 * @param leaseExpires when the lease ends if no save renews it; empty without a lease
 */
public record Writer(long epoch, long revision, Optional<Instant> leaseExpires) {}
