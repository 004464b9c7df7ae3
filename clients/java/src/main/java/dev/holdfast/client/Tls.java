package dev.holdfast.client;

import java.nio.file.Path;
import java.util.Optional;

/**
 * How a client uses TLS. The files are in PEM and are read when a client is built.
 *
 * @param caFile the authorities that the certificate of the server must be of; empty for those of
 *     the Java runtime
 * @param certFile the certificate that the client presents; empty for none
 * @param keyFile the private key of the certificate, in PKCS #8 and without a password
 * @param serverName the name that the certificate of the server must have; empty for the host of
 *     the target
 */
public record Tls(
    Optional<Path> caFile,
    Optional<Path> certFile,
    Optional<Path> keyFile,
    Optional<String> serverName) {
  /**
   * Checks the values.
   *
   * @param caFile the authorities
   * @param certFile the certificate of the client
   * @param keyFile its private key
   * @param serverName the name of the server
   * @throws InvalidRequestException if one is out of range
   */
  public Tls {
    Arguments.present("tls.ca_file", caFile);
    Arguments.present("tls.cert_file", certFile);
    Arguments.present("tls.key_file", keyFile);
    Arguments.present("tls.server_name", serverName);
    if (certFile.isPresent() != keyFile.isPresent()) {
      throw Arguments.invalid("tls", "must have both cert_file and key_file, or none of them");
    }
  }

  /**
   * Returns TLS with the authorities of the Java runtime.
   *
   * @return the settings
   */
  public static Tls systemAuthorities() {
    return new Tls(Optional.empty(), Optional.empty(), Optional.empty(), Optional.empty());
  }

  /**
   * Returns these settings with other authorities.
   *
   * @param file the file of the authorities
   * @return the settings
   */
  public Tls withAuthorities(Path file) {
    return new Tls(
        Optional.of(Arguments.present("tls.ca_file", file)), certFile, keyFile, serverName);
  }

  /**
   * Returns these settings with a certificate that the client presents.
   *
   * @param certificate the file of the certificate, followed by those of intermediate authorities
   * @param key the file of its private key
   * @return the settings
   */
  public Tls withCertificate(Path certificate, Path key) {
    return new Tls(
        caFile,
        Optional.of(Arguments.present("tls.cert_file", certificate)),
        Optional.of(Arguments.present("tls.key_file", key)),
        serverName);
  }

  /**
   * Returns these settings with another name of the server.
   *
   * @param name the name that the certificate of the server must have
   * @return the settings
   */
  public Tls withServerName(String name) {
    return new Tls(caFile, certFile, keyFile, Optional.of(Arguments.text("tls.server_name", name)));
  }
}
