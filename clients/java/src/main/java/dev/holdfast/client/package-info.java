/**
 * The client of Holdfast, the checkpoint store for workflow engines.
 *
 * <p>{@link dev.holdfast.client.HoldfastClient} saves and loads checkpoints with blocking calls,
 * {@link dev.holdfast.client.AsyncHoldfastClient} with futures. Values are immutable. A failed call
 * throws a {@link dev.holdfast.client.HoldfastException}, with one subclass for each reason.
 */
package dev.holdfast.client;
