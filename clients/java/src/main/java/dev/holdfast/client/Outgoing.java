package dev.holdfast.client;

import com.google.protobuf.ByteString;
import com.google.protobuf.UnsafeByteOperations;
import dev.holdfast.v1.Chunk;
import dev.holdfast.v1.Part;
import dev.holdfast.v1.SaveStreamFinish;
import dev.holdfast.v1.SaveStreamRequest;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** A payload that is sent, divided into parts and chunks with checksums. */
final class Outgoing {
  static final int UNARY_BYTES = 1 << 20;
  private static final int CHUNK_BYTES = 1 << 20;
  private static final Pattern POSITION = Pattern.compile("([0-9]{1,18}):([0-9]{1,18})");

  private final Map<String, Payload.Part> parts;
  private final long sizeBytes;

  Outgoing(Payload payload) {
    parts = payload.byName();
    sizeBytes = payload.sizeBytes();
  }

  /** Takes the messages of a stream. Returns false once no more are wanted. */
  @FunctionalInterface
  interface Sending {
    boolean send(SaveStreamRequest message) throws InterruptedException;
  }

  boolean fitsUnary() {
    return sizeBytes <= UNARY_BYTES;
  }

  /** Returns whether all of it can be read without waiting. */
  boolean isInMemory() {
    return parts.values().stream().allMatch(Payload.Part::isInMemory);
  }

  /** Returns the sizes by part name. */
  Map<String, Long> sizes() {
    Map<String, Long> sizes = new LinkedHashMap<>();
    parts.forEach((name, part) -> sizes.put(name, part.sizeBytes()));
    return sizes;
  }

  /** Returns the parts for one message. */
  List<Part> inline() throws IOException {
    List<Part> messages = new ArrayList<>();
    for (Map.Entry<String, Payload.Part> each : parts.entrySet()) {
      Payload.Part part = each.getValue();
      try (InputStream stream = opened(part)) {
        byte[] data = read(part, stream, 0, (int) part.sizeBytes());
        messages.add(
            Part.newBuilder()
                .setName(each.getKey())
                .setData(UnsafeByteOperations.unsafeWrap(data))
                .setCrc32C(Checksums.crc32c(data, 0, data.length))
                .build());
      }
    }
    return messages;
  }

  /**
   * Sends the messages of a stream after its header: chunks and a finish.
   *
   * @param received the position up to which the server has the payload; "" for none of it
   */
  void stream(String received, Progress progress, Sending sending)
      throws IOException, InterruptedException {
    Matcher position = POSITION.matcher(received.isEmpty() ? "0:0" : received);
    if (!position.matches()) {
      throw Reasons.wrong("an invalid position of an upload");
    }
    long nextPart = Long.parseLong(position.group(1));
    long nextByte = Long.parseLong(position.group(2));
    long sent = 0;
    int index = 0;
    for (Map.Entry<String, Payload.Part> each : parts.entrySet()) {
      long size = each.getValue().sizeBytes();
      long known = index < nextPart ? size : index == nextPart ? Math.min(nextByte, size) : 0;
      boolean isWhole = index < nextPart || (size > 0 && known == size);
      sent += known;
      if (!isWhole && !part(each.getKey(), each.getValue(), known, sent, progress, sending)) {
        return;
      }
      sent += size - known;
      index++;
    }
    SaveStreamFinish finish = SaveStreamFinish.newBuilder().setSizeBytes(sent).build();
    sending.send(SaveStreamRequest.newBuilder().setFinish(finish).build());
  }

  /** Sends the chunks of a part from a byte on; an empty part has one. */
  private boolean part(
      String name, Payload.Part part, long from, long before, Progress progress, Sending sending)
      throws IOException, InterruptedException {
    try (InputStream stream = opened(part)) {
      try {
        stream.skipNBytes(from);
      } catch (EOFException shorter) {
        throw shorter(part, from);
      }
      long offset = from;
      do {
        int size = (int) Math.min(CHUNK_BYTES, part.sizeBytes() - offset);
        byte[] data = read(part, stream, offset, size);
        ByteString bytes = UnsafeByteOperations.unsafeWrap(data);
        Chunk chunk =
            Chunk.newBuilder()
                .setPart(name)
                .setOffset(offset)
                .setData(bytes)
                .setCrc32C(Checksums.crc32c(data, 0, size))
                .build();
        if (!sending.send(SaveStreamRequest.newBuilder().setChunk(chunk).build())) {
          return false;
        }
        offset += size;
        progress.update(before + offset - from, sizeBytes);
      } while (offset < part.sizeBytes());
    }
    return true;
  }

  private static InputStream opened(Payload.Part part) throws IOException {
    InputStream stream = part.source().open();
    if (stream == null) {
      throw Arguments.invalid(part.field(), "must have a source that opens a stream, not null");
    }
    return stream;
  }

  private static byte[] read(Payload.Part part, InputStream stream, long offset, int size)
      throws IOException {
    byte[] data = stream.readNBytes(size);
    if (data.length < size) {
      throw shorter(part, offset + data.length);
    }
    return data;
  }

  private static HoldfastException shorter(Payload.Part part, long size) {
    return Arguments.invalid(
        part.field(),
        "must have " + part.sizeBytes() + " bytes until it is saved, but has at most " + size);
  }
}
