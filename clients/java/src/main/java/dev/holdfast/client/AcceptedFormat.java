package dev.holdfast.client;

/**
 * A format name and the versions that are accepted, both bounds included.
 *
 * @param name the name of the format
 * @param minVersion the lowest version, at least 1
 * @param maxVersion the highest version, at least the lowest
 */
public record AcceptedFormat(String name, int minVersion, int maxVersion) {
  /**
   * Checks the values.
   *
   * @param name the name of the format
   * @param minVersion the lowest version
   * @param maxVersion the highest version
   * @throws InvalidRequestException if one is out of range
   */
  public AcceptedFormat {
    Arguments.text("accepted_formats.name", name);
    Arguments.range("accepted_formats.min_version", minVersion, 1, Integer.MAX_VALUE);
    Arguments.range("accepted_formats.max_version", maxVersion, minVersion, Integer.MAX_VALUE);
  }

  dev.holdfast.v1.AcceptedFormat message() {
    return dev.holdfast.v1.AcceptedFormat.newBuilder()
        .setName(name)
        .setMinVersion(minVersion)
        .setMaxVersion(maxVersion)
        .build();
  }
}
