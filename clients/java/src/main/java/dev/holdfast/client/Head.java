package dev.holdfast.client;

import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * The newest entry of a workflow's log. Its text, by {@link #toString}, is short: keep it anywhere
 * outside of the store, and {@link #parse} it again.
 *
 * @param revision its revision, at least 1
 * @param digest the SHA-256 of the entry and of all entries before it, 64 hex digits in lower case
 */
public record Head(long revision, String digest) {
  private static final Pattern DIGEST = Pattern.compile("[0-9a-f]{64}");
  private static final Pattern TEXT = Pattern.compile("([0-9]{1,19}):(" + DIGEST + ")");
  private static final int SHOWN_CHARACTERS = 100;

  /**
   * Checks the values.
   *
   * @param revision the revision
   * @param digest the digest
   * @throws InvalidRequestException if one is out of range
   */
  public Head {
    Arguments.range("head.revision", revision, 1, Long.MAX_VALUE);
    if (!DIGEST.matcher(Arguments.text("head.digest", digest)).matches()) {
      throw Arguments.invalid(
          "head.digest", "must be 64 hex digits in lower case, not " + shown(digest));
    }
  }

  /**
   * Returns the head with a text.
   *
   * @param text the text of a head
   * @return the head
   * @throws InvalidRequestException if it is not the text of a head
   */
  public static Head parse(String text) {
    Matcher found = TEXT.matcher(Arguments.text("head", text));
    if (!found.matches()) {
      throw Arguments.invalid("head", "must be REVISION:DIGEST, not " + shown(text));
    }
    try {
      return new Head(Long.parseLong(found.group(1)), found.group(2));
    } catch (NumberFormatException above) {
      throw Arguments.invalid(
          "head", "must have a revision of 1 to " + Long.MAX_VALUE + ", not " + found.group(1));
    }
  }

  /**
   * Returns the text of the head.
   *
   * @return the text, such as {@code 17:9f86d081…}
   */
  @Override
  public String toString() {
    return revision + ":" + digest;
  }

  private static String shown(String text) {
    return "'" + text.substring(0, Math.min(text.length(), SHOWN_CHARACTERS)) + "'";
  }
}
