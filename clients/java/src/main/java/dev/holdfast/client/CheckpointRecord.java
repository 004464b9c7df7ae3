package dev.holdfast.client;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.util.Arrays;

/** Small data that is attached to a checkpoint id, under a key of its own. */
public final class CheckpointRecord {
  private final String key;
  private final byte[] data;
  private final boolean replaces;

  private CheckpointRecord(String key, byte[] data, boolean replaces) {
    this.key = Arguments.text("records.key", key);
    this.data = Arguments.present("records.data", data);
    this.replaces = replaces;
  }

  /**
   * Returns a record. The first record of a key stays.
   *
   * @param key its key, unique for the checkpoint id, 1 to 512 bytes
   * @param data its bytes, which must not be changed later
   * @return the record
   */
  public static CheckpointRecord of(String key, byte[] data) {
    return new CheckpointRecord(key, data, false);
  }

  /**
   * Returns a record that replaces the one with the same key.
   *
   * @param key its key
   * @param data its bytes, which must not be changed later
   * @return the record
   */
  public static CheckpointRecord replacing(String key, byte[] data) {
    return new CheckpointRecord(key, data, true);
  }

  /**
   * Returns the key.
   *
   * @return the key
   */
  public String key() {
    return key;
  }

  /**
   * Returns the bytes, which are not copied.
   *
   * @return the bytes
   */
  public byte[] data() {
    return data;
  }

  /**
   * Returns whether the record replaces another one when it is attached.
   *
   * @return whether it does
   */
  public boolean replaces() {
    return replaces;
  }

  int sizeBytes() {
    return key.getBytes(UTF_8).length + data.length;
  }

  @Override
  public boolean equals(Object other) {
    return other instanceof CheckpointRecord record
        && key.equals(record.key)
        && replaces == record.replaces
        && Arrays.equals(data, record.data);
  }

  @Override
  public int hashCode() {
    return 31 * key.hashCode() + Arrays.hashCode(data);
  }

  @Override
  public String toString() {
    return "CheckpointRecord[key=" + key + ", " + data.length + " bytes]";
  }
}
