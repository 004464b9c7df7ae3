package dev.holdfast.client;

/**
 * A part of a payload, without its bytes.
 *
 * @param name its name; "" for the default part
 * @param sizeBytes its size in bytes
 * @param sha256 the SHA-256 of its bytes, 64 hex digits
 * @param crc32c the CRC-32C of its bytes
 */
public record PartInfo(String name, long sizeBytes, String sha256, int crc32c) {}
