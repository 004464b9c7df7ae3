package dev.holdfast.client;

import java.util.Map;

/** Brings the parts of a payload from one version of a format to the next. */
@FunctionalInterface
public interface Migration {
  /**
   * Migrates a payload.
   *
   * @param parts the parts by name
   * @return the parts of the next version
   * @throws Exception if the payload cannot be migrated; the load then fails with {@link
   *     FormatIncompatibleException}
   */
  Map<String, byte[]> migrate(Map<String, byte[]> parts) throws Exception;
}
