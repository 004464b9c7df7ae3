package dev.holdfast.client;

import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Objects;

/** Migrations by format name, each from one version to the next. An instance is immutable. */
public final class Migrations {
  private static final int SHOWN_CHARACTERS = 300;
  private static final Migrations NONE = new Migrations(Map.of());

  private final Map<Format, Migration> steps;

  private Migrations(Map<Format, Migration> steps) {
    this.steps = steps;
  }

  /**
   * Returns no migrations.
   *
   * @return no migrations
   */
  public static Migrations none() {
    return NONE;
  }

  /**
   * Returns these migrations and another one.
   *
   * @param name the name of the format
   * @param fromVersion the version that it migrates to the next one, at least 1
   * @param migration the migration
   * @return all of them
   * @throws InvalidRequestException if the version has a migration already, or is out of range
   */
  public Migrations with(String name, int fromVersion, Migration migration) {
    Arguments.range("from_version", fromVersion, 1, Integer.MAX_VALUE - 1);
    Map<Format, Migration> all = new HashMap<>(steps);
    if (all.put(new Format(name, fromVersion), Arguments.present("migration", migration)) != null) {
      throw Arguments.invalid(
          "from_version", fromVersion + " of format '" + name + "' has a migration already");
    }
    return new Migrations(all);
  }

  /** Returns the versions that can be migrated to a format, including its own. */
  AcceptedFormat accepted(Format wanted) {
    int lowest = wanted.version();
    while (lowest > 1 && steps.containsKey(new Format(wanted.name(), lowest - 1))) {
      lowest--;
    }
    return new AcceptedFormat(wanted.name(), lowest, wanted.version());
  }

  /** Migrates parts. Throws FormatIncompatibleException if a migration is missing or fails. */
  Map<String, byte[]> migrate(Map<String, byte[]> parts, Format stored, Format wanted) {
    Map<String, byte[]> migrated = parts;
    for (int version = stored.version(); version < wanted.version(); version++) {
      String what = "migration of '" + stored.name() + "' from version " + version;
      Migration step = steps.get(new Format(stored.name(), version));
      if (step == null) {
        throw Reasons.exception("FORMAT_INCOMPATIBLE", "no " + what);
      }
      migrated = migrated(step, migrated, what);
    }
    return migrated;
  }

  // A migration is the caller's code: whatever it throws means that the payload has no such format.
  private static Map<String, byte[]> migrated(
      Migration step, Map<String, byte[]> parts, String what) {
    Map<String, byte[]> found;
    try {
      found = step.migrate(parts);
    } catch (Exception failure) {
      String text = String.valueOf(failure);
      String shown = text.substring(0, Math.min(text.length(), SHOWN_CHARACTERS));
      throw Reasons.exception("FORMAT_INCOMPATIBLE", "the " + what + " failed: " + shown, failure);
    }
    if (found == null
        || found.keySet().stream().anyMatch(Objects::isNull)
        || found.values().stream().anyMatch(Objects::isNull)) {
      throw Reasons.exception("FORMAT_INCOMPATIBLE", "the " + what + " returned no parts, or null");
    }
    return new LinkedHashMap<>(found);
  }
}
