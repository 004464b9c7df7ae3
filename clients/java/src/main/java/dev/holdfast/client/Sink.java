package dev.holdfast.client;

import java.io.IOException;

/** Takes the bytes of one part, in their order. */
interface Sink {
  void write(byte[] data, int offset, int length) throws IOException;

  /** Drops everything that was written: another payload follows. */
  void restart() throws IOException;
}
