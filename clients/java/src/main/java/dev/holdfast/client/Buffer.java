package dev.holdfast.client;

import java.util.Arrays;

/** A part that is kept in memory. It grows with the bytes that arrive. */
final class Buffer implements Sink {
  private static final int FIRST_BYTES = 1 << 20;

  private final int sizeBytes;
  private byte[] data;
  private int used;

  Buffer(long sizeBytes) {
    this.sizeBytes = Math.toIntExact(sizeBytes);
    this.data = new byte[Math.min(this.sizeBytes, FIRST_BYTES)];
  }

  @Override
  public void write(byte[] from, int offset, int length) {
    int needed = Math.addExact(used, length);
    if (needed > data.length) {
      long doubled = Math.min(sizeBytes, 2L * data.length);
      data = Arrays.copyOf(data, (int) Math.max(needed, doubled));
    }
    System.arraycopy(from, offset, data, used, length);
    used = needed;
  }

  @Override
  public void restart() {
    used = 0;
  }

  /** Returns the bytes once all of them have arrived. */
  byte[] take() {
    return used == data.length ? data : Arrays.copyOf(data, used);
  }
}
