package dev.holdfast.client;

/**
 * The format of a payload.
 *
 * @param name its name, 1 to 128 bytes
 * @param version its version, at least 1
 */
public record Format(String name, int version) {
  /**
   * Checks the values.
   *
   * @param name its name
   * @param version its version
   * @throws InvalidRequestException if one is out of range
   */
  public Format {
    Arguments.text("format.name", name);
    Arguments.range("format.version", version, 1, Integer.MAX_VALUE);
  }

  dev.holdfast.v1.Format message() {
    return dev.holdfast.v1.Format.newBuilder().setName(name).setVersion(version).build();
  }
}
