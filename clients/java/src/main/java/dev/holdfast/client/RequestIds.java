package dev.holdfast.client;

import java.security.SecureRandom;
import java.util.HexFormat;

/** Idempotency keys of calls. */
final class RequestIds {
  private static final SecureRandom RANDOM = new SecureRandom();
  private static final int BYTES = 16;

  private RequestIds() {}

  /** Returns a key that no other call has. */
  static String create() {
    byte[] key = new byte[BYTES];
    RANDOM.nextBytes(key);
    return HexFormat.of().formatHex(key);
  }
}
