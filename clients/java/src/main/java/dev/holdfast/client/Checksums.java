package dev.holdfast.client;

import com.google.protobuf.ByteString;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.zip.CRC32C;

/** The checksum of a chunk and the digest of a part. */
final class Checksums {
  private Checksums() {}

  static int crc32c(byte[] data, int offset, int length) {
    CRC32C checksum = new CRC32C();
    checksum.update(data, offset, length);
    return (int) checksum.getValue();
  }

  static MessageDigest sha256() {
    try {
      return MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException missing) {
      throw new IllegalStateException("each Java runtime has SHA-256", missing);
    }
  }

  static ByteString sha256(ByteString data) {
    MessageDigest digest = sha256();
    data.asReadOnlyByteBufferList().forEach(digest::update);
    return ByteString.copyFrom(digest.digest());
  }
}
