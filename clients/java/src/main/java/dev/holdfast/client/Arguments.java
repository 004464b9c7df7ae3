package dev.holdfast.client;

import com.google.protobuf.Timestamp;
import java.time.Duration;
import java.time.Instant;
import java.util.List;

/** Checks of arguments before they become requests. Each error names field, limit and value. */
final class Arguments {
  static final Duration LONGEST = Duration.ofDays(366);
  private static final Duration LONGEST_STORED = Duration.ofDays(3_650_000);

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
    if (value.isNegative() || value.compareTo(LONGEST) > 0) {
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

  static Timestamp message(Instant value) {
    return Timestamp.newBuilder()
        .setSeconds(value.getEpochSecond())
        .setNanos(value.getNano())
        .build();
  }

  private static Duration bounded(String field, Duration value, Duration longest) {
    if (value.isZero() || value.isNegative() || value.compareTo(longest) > 0) {
      throw invalid(
          field, "must be more than 0 and at most " + longest.toDays() + " days, not " + value);
    }
    return value;
  }
}
