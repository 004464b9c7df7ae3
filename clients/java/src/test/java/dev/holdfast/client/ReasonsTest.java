package dev.holdfast.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.google.protobuf.Any;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import io.grpc.Metadata;
import io.grpc.Status;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.ObjectInputStream;
import java.io.ObjectOutputStream;
import java.nio.channels.ClosedChannelException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Optional;
import javax.net.ssl.SSLHandshakeException;
import org.junit.jupiter.api.Test;

class ReasonsTest {
  private static final Metadata.Key<byte[]> DETAILS =
      Metadata.Key.of("grpc-status-details-bin", Metadata.BINARY_BYTE_MARSHALLER);

  @Test
  void hasTheClassesAndTraitsOfThePublishedTable() throws IOException {
    String table = Files.readString(Path.of("../../proto/holdfast/v1/reasons.json"));
    for (JsonElement each :
        JsonParser.parseString(table).getAsJsonObject().getAsJsonArray("reasons")) {
      JsonObject row = each.getAsJsonObject();
      String reason = row.get("reason").getAsString();
      assertTrue(Reasons.CLASSES.containsKey(reason), reason);
      HoldfastException exception = Reasons.exception(reason, "text");
      assertEquals(
          row.get("python_exception").getAsString().replace("Error", "Exception"),
          exception.getClass().getSimpleName());
      assertEquals(row.get("status").getAsString(), exception.code().name());
      assertEquals(row.get("retryable").getAsBoolean(), exception.retryable());
      assertEquals(row.get("advice").getAsString(), exception.advice());
    }
  }

  private static HoldfastException sent(Status.Code code, String reason, Any... more) {
    com.google.rpc.Status.Builder status =
        com.google.rpc.Status.newBuilder()
            .setMessage("text")
            .addDetails(
                Any.pack(
                    ErrorInfo.newBuilder()
                        .setDomain("holdfast.dev")
                        .setReason(reason)
                        .putMetadata("name", "value")
                        .build()));
    for (Any detail : more) {
      status.addDetails(detail);
    }
    Metadata trailers = new Metadata();
    trailers.put(DETAILS, status.build().toByteArray());
    return Statuses.exception(code.toStatus(), trailers, "trace", "request");
  }

  @Test
  void takesUnknownReasonsByTheirStatus() {
    Any wait =
        Any.pack(
            RetryInfo.newBuilder()
                .setRetryDelay(com.google.protobuf.Duration.newBuilder().setSeconds(2))
                .build());
    HoldfastException busy = sent(Status.Code.RESOURCE_EXHAUSTED, "NEW_REASON", wait);
    assertTrue(busy.retryable());
    assertEquals(Optional.of(Duration.ofSeconds(2)), busy.retryAfter());
    assertFalse(sent(Status.Code.RESOURCE_EXHAUSTED, "NEW_REASON").retryable());
    assertInstanceOf(CheckpointCorruptedException.class, sent(Status.Code.DATA_LOSS, "NEW_REASON"));
    assertEquals(
        WorkflowCheckpointResumeException.class,
        sent(Status.Code.NOT_FOUND, "NEW_REASON").getClass());
    assertEquals("value", busy.metadata().get("name"));
    assertEquals("trace", busy.traceId());
  }

  private static HoldfastException bare(Status status) {
    return Statuses.exception(status, new Metadata(), "trace", "request");
  }

  @Test
  void retriesBrokenConnectionsButNotFailedHandshakes() {
    Status broken = Status.UNKNOWN.withCause(new ClosedChannelException());
    assertEquals("SERVER_UNAVAILABLE", bare(broken).reason());
    assertEquals("SERVER_UNAVAILABLE", bare(Status.CANCELLED).reason());
    assertEquals("INTERNAL", bare(Status.UNKNOWN).reason());
    assertFalse(bare(Status.RESOURCE_EXHAUSTED).retryable());
    Status refused = Status.UNAVAILABLE.withCause(new SSLHandshakeException("unknown_ca"));
    assertEquals("HANDSHAKE_FAILED", bare(refused).reason());
    Status cut =
        Status.UNAVAILABLE.withCause(new SSLHandshakeException("connection closed while …"));
    assertEquals("SERVER_UNAVAILABLE", bare(cut).reason());
  }

  @Test
  void exceptionsCanBeSerialized() throws Exception {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    try (ObjectOutputStream stream = new ObjectOutputStream(bytes)) {
      stream.writeObject(sent(Status.Code.DATA_LOSS, "CHECKPOINT_CORRUPTED"));
    }
    try (ObjectInputStream stream =
        new ObjectInputStream(new ByteArrayInputStream(bytes.toByteArray()))) {
      HoldfastException read = (HoldfastException) stream.readObject();
      assertEquals("value", read.metadata().get("name"));
    }
  }
}
