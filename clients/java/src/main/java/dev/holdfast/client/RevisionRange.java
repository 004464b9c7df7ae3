package dev.holdfast.client;

/**
 * A closed range of revisions.
 *
 * @param first the first
 * @param last the last, at least the first
 */
public record RevisionRange(long first, long last) {}
