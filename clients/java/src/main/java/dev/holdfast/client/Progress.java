package dev.holdfast.client;

/** Is called while a payload is streamed. It must return soon. */
@FunctionalInterface
public interface Progress {
  /**
   * Notes how far a transfer is.
   *
   * @param doneBytes the bytes that were sent or received
   * @param totalBytes all bytes
   */
  void update(long doneBytes, long totalBytes);
}
