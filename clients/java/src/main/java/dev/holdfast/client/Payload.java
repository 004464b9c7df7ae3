package dev.holdfast.client;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * The data of a checkpoint: named parts, from memory, files or streams. An instance is immutable.
 *
 * <p>A save may send a payload more than once, so that each part can be read more than once. Its
 * bytes must not change while it is saved: they are not copied. A source that blocks does not hold
 * a save beyond its deadline, nor beyond the end of the client; its thread ends once it returns.
 */
public final class Payload {
  private final Map<String, Part> parts;

  private Payload(Map<String, Part> parts) {
    this.parts = Collections.unmodifiableMap(parts);
  }

  /** Opens the stream of a part, each time that it is sent. */
  @FunctionalInterface
  public interface Source {
    /**
     * Opens a stream at the first byte of the part. The client closes it.
     *
     * @return the stream
     * @throws IOException if it cannot be opened
     */
    InputStream open() throws IOException;
  }

  /** The bytes of one part. */
  record Part(String field, long sizeBytes, boolean isInMemory, Source source) {}

  /**
   * Returns a payload of one part, the default one.
   *
   * @param data its bytes
   * @return the payload
   */
  public static Payload of(byte[] data) {
    return parts().with("", data);
  }

  /**
   * Returns a payload of one part, the default one.
   *
   * @param file its file, with the size that it has now
   * @return the payload
   * @throws UncheckedIOException if the file cannot be read
   */
  public static Payload of(Path file) {
    return parts().with("", file);
  }

  /**
   * Returns a payload of one part, the default one.
   *
   * @param sizeBytes its size
   * @param source opens its stream, once for each attempt to send it
   * @return the payload
   */
  public static Payload of(long sizeBytes, Source source) {
    return parts().with("", sizeBytes, source);
  }

  /**
   * Returns a payload without parts, to add some.
   *
   * @return the payload
   */
  public static Payload parts() {
    return new Payload(new LinkedHashMap<>());
  }

  /**
   * Returns this payload and another part.
   *
   * @param name the name of the part
   * @param data its bytes
   * @return the payload
   */
  public Payload with(String name, byte[] data) {
    Arguments.present(field(name), data);
    return with(name, data.length, true, () -> new ByteArrayInputStream(data));
  }

  /**
   * Returns this payload and another part.
   *
   * @param name the name of the part
   * @param file its file, with the size that it has now
   * @return the payload
   * @throws UncheckedIOException if the file cannot be read
   */
  public Payload with(String name, Path file) {
    Arguments.present(field(name), file);
    try {
      return with(name, Files.size(file), () -> Files.newInputStream(file));
    } catch (IOException failure) {
      throw new UncheckedIOException(failure);
    }
  }

  /**
   * Returns this payload and another part.
   *
   * @param name the name of the part
   * @param sizeBytes its size
   * @param source opens its stream, once for each attempt to send it
   * @return the payload
   */
  public Payload with(String name, long sizeBytes, Source source) {
    return with(name, sizeBytes, false, source);
  }

  private Payload with(String name, long sizeBytes, boolean isInMemory, Source source) {
    String field = field(name);
    // All parts together have a size.
    Arguments.range(field + ".size_bytes", sizeBytes, 0, Long.MAX_VALUE - sizeBytes());
    Part part = new Part(field, sizeBytes, isInMemory, Arguments.present(field, source));
    Map<String, Part> all = new LinkedHashMap<>(parts);
    if (all.put(name, part) != null) {
      throw Arguments.invalid(field, "must be given once");
    }
    return new Payload(all);
  }

  private static String field(String name) {
    return "data['" + Arguments.text("parts.name", name) + "']";
  }

  /**
   * Returns the size of all parts.
   *
   * @return the size in bytes
   */
  public long sizeBytes() {
    return parts.values().stream().mapToLong(Part::sizeBytes).sum();
  }

  Map<String, Part> byName() {
    return parts;
  }
}
