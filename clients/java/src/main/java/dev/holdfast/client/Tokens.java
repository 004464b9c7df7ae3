package dev.holdfast.client;

import io.grpc.Metadata;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executor;
import java.util.function.Supplier;
import java.util.regex.Pattern;

/**
 * The token by which the calls of one client are known to its server: given for good, or taken from
 * a source and kept until a server refuses it. It is in no error and no representation.
 */
final class Tokens {
  private static final Metadata.Key<String> HEADER =
      Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);
  // https://www.rfc-editor.org/rfc/rfc6750#section-2.1
  private static final Pattern TOKEN = Pattern.compile("[A-Za-z0-9._~+/-]{1,16384}=*");

  private final Optional<Supplier<String>> source;
  private String kept;
  private CompletableFuture<String> coming;

  private Tokens(Optional<Supplier<String>> source, String kept) {
    this.source = source;
    this.kept = kept;
  }

  static Tokens none() {
    return new Tokens(Optional.empty(), "");
  }

  static Tokens of(String token) {
    return new Tokens(Optional.empty(), checked(token));
  }

  static Tokens from(Supplier<String> source) {
    return new Tokens(Optional.of(source), null);
  }

  boolean isNone() {
    return source.isEmpty() && kept.isEmpty();
  }

  /**
   * Returns the token: "" for none. Calls the source if there is no token, one caller at a time.
   */
  synchronized CompletableFuture<String> current(Executor executor) {
    if (kept != null) {
      return CompletableFuture.completedFuture(kept);
    }
    CompletableFuture<String> made = coming;
    if (made == null) {
      made = CompletableFuture.supplyAsync(this::made, executor);
      coming = made;
      made.whenComplete((token, failure) -> keep(token));
    }
    return made.copy();
  }

  static void put(Metadata headers, String token) {
    if (!token.isEmpty()) {
      headers.put(HEADER, "Bearer " + token);
    }
  }

  /** Forgets a token that was refused. Returns whether there may be another one. */
  synchronized boolean refuse(String token) {
    if (source.isEmpty()) {
      return false;
    }
    if (token.equals(kept)) {
      kept = null;
    }
    return true;
  }

  private synchronized void keep(String token) {
    coming = null;
    kept = token;
  }

  // The source is the caller's code. The text of its exception might contain a secret.
  private String made() {
    String token;
    try {
      token = source.orElseThrow().get();
    } catch (Exception failure) {
      throw Reasons.exception(
          "UNAUTHENTICATED",
          "token: the source threw " + failure.getClass().getSimpleName(),
          failure);
    }
    return checked(token);
  }

  private static String checked(String token) {
    if (token == null || !TOKEN.matcher(token).matches()) {
      throw Arguments.invalid("token", "must be 1 to 16384 letters, digits and ._~+/-");
    }
    return token;
  }
}
