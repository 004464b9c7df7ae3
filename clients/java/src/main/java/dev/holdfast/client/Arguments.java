package dev.holdfast.client;

import com.google.protobuf.Timestamp;
import java.time.Duration;
import java.time.Instant;
import java.util.List;

/** Checks of arguments before they become requests. Each error names field, limit and value. */
final class Arguments {
  static final Duration LONGEST = Duration.ofDays(366);
  private static final Duration LONGEST_STORED = Duration.ofDays(3_650_000);

  // The bounds of a Timestamp.
  private static final Instant FIRST = Instant.parse("0001-01-01T00:00:00Z");
  private static final Instant LAST = Instant.parse("9999-12-31T23:59:59.999999999Z");

  private Arguments() {}

  static HoldfastException invalid(String field, String problem) {
    Failure failure = Reasons.failure("INVALID_REQUEST", field + " " + problem);
    return Reasons.exception(
        failure.withViolations(List.of(new FieldViolation(field, problem))), null);
  }

  /** Checks that an argument is there. */
  static <T> T present(String field, T value) {
    if (value == null) {
      throw invalid(field, "must not be null");
    }
    return value;
  }

  static String text(String field, String value) {
    present(field, value);
    for (int index = 0; index < value.length(); index++) {
      char unit = value.charAt(index);
      if (Character.isHighSurrogate(unit)
          && index + 1 < value.length()
          && Character.isLowSurrogate(value.charAt(index + 1))) {
        index++;
      } else if (Character.isSurrogate(unit)) {
        throw invalid(field, "must be text that UTF-8 can hold, not one with a lone surrogate");
      }
    }
    return value;
  }

  /** Checks the elements of a list. */
  static <T> List<T> elements(String field, List<T> values) {
    int index = 0;
    for (T each : present(field, values)) {
      present(field + "[" + index + "]", each);
      index++;
    }
    return List.copyOf(values);
  }

  static long range(String field, long value, long low, long high) {
    if (value < low || value > high) {
      throw invalid(field, "must be " + low + " to " + high + ", not " + value);
    }
    return value;
  }

  static double amount(String field, double value, double high) {
    if (!(value >= 0 && value <= high)) {
      throw invalid(field, "must be 0 to " + high + ", not " + value);
    }
    return value;
  }

  static Duration durationOrZero(String field, Duration value) {
    if (present(field, value).isNegative() || value.compareTo(LONGEST) > 0) {
      throw invalid(field, "must be 0 to 366 days, not " + value);
    }
    return value;
  }

  /** Checks a time to wait. */
  static Duration duration(String field, Duration value) {
    return bounded(field, value, LONGEST);
  }

  /** Converts a time to keep something. */
  static com.google.protobuf.Duration stored(String field, Duration value) {
    bounded(field, value, LONGEST_STORED);
    return message(value);
  }

  static com.google.protobuf.Duration message(Duration value) {
    return com.google.protobuf.Duration.newBuilder()
        .setSeconds(value.getSeconds())
        .setNanos(value.getNano())
        .build();
  }

  /** Converts a time that the API can hold. */
  static Timestamp message(String field, Instant value) {
    if (present(field, value).isBefore(FIRST) || value.isAfter(LAST)) {
      throw invalid(field, "must be " + FIRST + " to " + LAST + ", not " + value);
    }
    return Timestamp.newBuilder()
        .setSeconds(value.getEpochSecond())
        .setNanos(value.getNano())
        .build();
  }

  private static Duration bounded(String field, Duration value, Duration longest) {
    if (present(field, value).isZero() || value.isNegative() || value.compareTo(longest) > 0) {
      throw invalid(
          field, "must be more than 0 and at most " + longest.toDays() + " days, not " + value);
    }
    return value;
  }
}
