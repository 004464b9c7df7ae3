package dev.holdfast.conformance;

import static java.nio.charset.StandardCharsets.UTF_8;

import com.google.gson.JsonObject;
import java.nio.ByteBuffer;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Base64;
import java.util.HexFormat;

/** Bytes in commands and answers: as text, as base64, or generated from a seed. */
final class Content {
  private static final int MIB = 1 << 20;
  private static final int SHOWN_BYTES = 256;

  private Content() {}

  static byte[] decoded(JsonObject given) {
    if (given.has("text")) {
      return given.get("text").getAsString().getBytes(UTF_8);
    }
    if (given.has("base64")) {
      return Base64.getDecoder().decode(given.get("base64").getAsString());
    }
    return generated(given.get("seed").getAsLong(), given.get("size").getAsInt());
  }

  static JsonObject described(byte[] data) {
    JsonObject shown = new JsonObject();
    shown.addProperty("size", Integer.toString(data.length));
    shown.addProperty("sha256", HexFormat.of().formatHex(sha256(data)));
    if (data.length <= SHOWN_BYTES) {
      shown.addProperty("base64", Base64.getEncoder().encodeToString(data));
    }
    return shown;
  }

  private static byte[] generated(long seed, int size) {
    ByteBuffer block = ByteBuffer.allocate(MIB);
    for (int counter = 0; block.hasRemaining(); counter++) {
      block.put(sha256((seed + ":" + counter).getBytes(UTF_8)));
    }
    byte[] data = new byte[size];
    for (int number = 0; (long) number * MIB < size; number++) {
      block.putLong(0, number);
      int offset = number * MIB;
      System.arraycopy(block.array(), 0, data, offset, Math.min(MIB, size - offset));
    }
    return data;
  }

  private static byte[] sha256(byte[] data) {
    try {
      return MessageDigest.getInstance("SHA-256").digest(data);
    } catch (NoSuchAlgorithmException missing) {
      throw new IllegalStateException(missing);
    }
  }
}
