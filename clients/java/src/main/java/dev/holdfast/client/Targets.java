package dev.holdfast.client;

import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * A target: one or several addresses, or a name of another scheme of gRPC.
 *
 * @param name the name for gRPC, if {@code addresses} is empty
 * @param addresses host:port each, if there are several
 * @param hasTls whether it began with {@code grpcs://}
 */
record Targets(String name, List<String> addresses, boolean hasTls) {
  private static final Pattern GRPCS = Pattern.compile("(?i)grpcs://(.*)");
  private static final Pattern LISTED = Pattern.compile("(?i)ipv[46]:(.*)");
  private static final Pattern SCHEME = Pattern.compile("(?i)[a-z][a-z0-9+.-]*:/.*");
  private static final Pattern ADDRESS =
      Pattern.compile("([^\\s\\p{Cntrl}/@,:]+|\\[[0-9a-fA-F:.%]+\\]):([0-9]{1,5})");
  private static final Pattern LOOPBACK =
      Pattern.compile(
          "(?i)(localhost|[\\w.-]+\\.localhost|127(\\.\\d+){3}|0\\.0\\.0\\.0|\\[(::1|::)\\])");
  private static final int MAX_PORT = 65535;

  static Targets of(String target) {
    Arguments.text("target", target);
    Matcher grpcs = GRPCS.matcher(target);
    boolean hasTls = grpcs.matches();
    String rest = hasTls ? grpcs.group(1) : target;
    if (!hasTls && SCHEME.matcher(rest).matches()) {
      if (!rest.toLowerCase(Locale.ROOT).startsWith("dns:")) {
        throw invalid(target);
      }
      return new Targets(rest, List.of(), false);
    }
    Matcher listed = LISTED.matcher(rest);
    List<String> addresses =
        Arrays.asList((listed.matches() ? listed.group(1) : rest).split(",", -1));
    for (String address : addresses) {
      Matcher parts = ADDRESS.matcher(address);
      if (!parts.matches() || port(address) < 1 || port(address) > MAX_PORT) {
        throw invalid(target);
      }
    }
    return addresses.size() == 1
        ? new Targets(addresses.get(0), List.of(), hasTls)
        : new Targets("", List.copyOf(addresses), hasTls);
  }

  static String host(String address) {
    return address.substring(0, address.lastIndexOf(':'));
  }

  static int port(String address) {
    return Integer.parseInt(address.substring(address.lastIndexOf(':') + 1));
  }

  /** Returns whether every address is on this machine. */
  boolean isLoopback() {
    List<String> all = addresses.isEmpty() ? List.of(name) : addresses;
    return all.stream()
        .map(address -> address.substring(address.lastIndexOf('/') + 1))
        .allMatch(address -> address.contains(":") && LOOPBACK.matcher(host(address)).matches());
  }

  private static HoldfastException invalid(String target) {
    String shown = target.replaceAll("//[^/@]*@", "//…@");
    return Arguments.invalid(
        "target",
        "must be host:port with a port of 1 to 65535, several of them with commas between,"
            + " grpcs://host:port or dns:///name, not '"
            + shown.substring(0, Math.min(shown.length(), 200))
            + "'");
  }
}
