package dev.holdfast.client;

import java.util.List;

/**
 * What a server can do.
 *
 * @param serverVersion its version
 * @param apiVersions the API packages that it serves, such as "holdfast.v1"
 * @param features the names of its optional features
 * @param payloadBytes the most bytes that a payload may have
 * @param parts the most parts that a payload may have
 * @param labels the most labels that a checkpoint may have
 */
public record Capabilities(
    String serverVersion,
    List<String> apiVersions,
    List<String> features,
    long payloadBytes,
    int parts,
    int labels) {}
