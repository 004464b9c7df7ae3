package dev.holdfast.client;

import com.google.protobuf.ByteOutput;
import com.google.protobuf.ByteString;
import com.google.protobuf.UnsafeByteOperations;
import dev.holdfast.v1.Chunk;
import dev.holdfast.v1.PartInfo;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.security.MessageDigest;
import java.util.zip.CRC32C;

/** A part that is being received: its bytes are checked, hashed and handed on once. */
final class ReceivedPart {
  private final PartInfo info;
  private final Sink sink;
  private final MessageDigest digest = Checksums.sha256();
  private long received;
  private boolean hasBegun;

  ReceivedPart(PartInfo info, Sink sink) {
    this.info = info;
    this.sink = sink;
  }

  /** Returns whether more of it must arrive. Even an empty part has a chunk. */
  boolean isMissing() {
    return !hasBegun || received < info.getSizeBytes();
  }

  long received() {
    return received;
  }

  long sizeBytes() {
    return info.getSizeBytes();
  }

  /**
   * Takes a chunk.
   *
   * @throws CheckpointCorruptedException it is not the next one, more than announced, or damaged
   */
  void take(Chunk chunk) throws IOException {
    int size = chunk.getData().size();
    if (chunk.getOffset() != received) {
      throw damaged("a chunk of part '" + info.getName() + "' does not match");
    }
    if (received + size > info.getSizeBytes()) {
      throw damaged("part '" + info.getName() + "' has more bytes than its header announces");
    }
    // An empty part has one empty chunk. A stream of more empty chunks could be endless.
    if (size == 0 && (info.getSizeBytes() > 0 || hasBegun)) {
      throw damaged("a chunk of part '" + info.getName() + "' is empty");
    }
    Checked checked = new Checked();
    UnsafeByteOperations.unsafeWriteTo(chunk.getData(), checked);
    if ((int) checked.checksum.getValue() != chunk.getCrc32C()) {
      throw damaged("a chunk of part '" + info.getName() + "' does not match");
    }
    hasBegun = true;
    received += size;
    UnsafeByteOperations.unsafeWriteTo(chunk.getData(), new HandedOn());
  }

  void requireDigest(String checkpointId) {
    if (isMissing() || !ByteString.copyFrom(digest.digest()).equals(info.getSha256())) {
      throw mismatch(checkpointId, info.getName());
    }
  }

  void restart() throws IOException {
    sink.restart();
  }

  static HoldfastException damaged(String problem) {
    return Reasons.exception(
        "CHECKPOINT_CORRUPTED", "the payload was damaged in transit: " + problem);
  }

  static HoldfastException mismatch(String checkpointId, String part) {
    String text =
        "part '"
            + part
            + "' of checkpoint '"
            + checkpointId
            + "' does not match its size and digest";
    return Reasons.exception(
        Reasons.failure("CHECKPOINT_CORRUPTED", text)
            .withMetadata("checkpoint_id", checkpointId)
            .withMetadata("part", part),
        null);
  }

  /** Computes the checksum of a chunk without a copy. */
  private static class Checked extends Bytes {
    private final CRC32C checksum = new CRC32C();

    @Override
    public void write(byte[] value, int offset, int length) throws IOException {
      checksum.update(value, offset, length);
    }
  }

  private final class HandedOn extends Bytes {
    @Override
    public void write(byte[] value, int offset, int length) throws IOException {
      digest.update(value, offset, length);
      sink.write(value, offset, length);
    }
  }

  private abstract static class Bytes extends ByteOutput {
    @Override
    public void write(byte value) throws IOException {
      write(new byte[] {value}, 0, 1);
    }

    @Override
    public void writeLazy(byte[] value, int offset, int length) throws IOException {
      write(value, offset, length);
    }

    @Override
    public void write(ByteBuffer value) throws IOException {
      byte[] copy = new byte[value.remaining()];
      value.get(copy);
      write(copy, 0, copy.length);
    }

    @Override
    public void writeLazy(ByteBuffer value) throws IOException {
      write(value);
    }
  }
}
