package dev.holdfast.client;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.holdfast.v1.Chunk;
import dev.holdfast.v1.SaveStreamRequest;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Rules of the client that need no server. */
class PartsOfTheClientTest {
  @Test
  void retriesWaitForTokensThatTimeReturns() {
    AtomicLong now = new AtomicLong();
    RetryBucket bucket = new RetryBucket(RetryPolicy.defaults().withBudget(2, 4), now::get);
    Duration long1 = Duration.ofSeconds(1);
    assertEquals(Optional.of(Duration.ZERO), bucket.take(long1));
    assertEquals(Optional.of(Duration.ZERO), bucket.take(long1));
    assertEquals(Optional.of(Duration.ofMillis(250)), bucket.take(long1));
    assertEquals(Optional.empty(), bucket.take(Duration.ofMillis(400)));
    now.addAndGet(Duration.ofMillis(500).toNanos());
    assertEquals(Optional.of(Duration.ZERO), bucket.take(long1));
    RetryBucket none = new RetryBucket(RetryPolicy.never(), now::get);
    none.succeeded();
    assertEquals(Optional.empty(), none.take(Duration.ofDays(1)));
  }

  @Test
  void pausesAreRandomUpToABoundThatDoubles() {
    RetryBucket bucket = new RetryBucket(RetryPolicy.defaults(), System::nanoTime);
    for (int attempt = 1; attempt < 40; attempt++) {
      long bound = Math.min(5_000, 50L << Math.min(attempt - 1, 20));
      assertTrue(bucket.pause(attempt, Optional.empty()).toMillis() <= bound);
      Duration asked = bucket.pause(attempt, Optional.of(Duration.ofMinutes(5)));
      assertTrue(asked.toSeconds() >= 30 && asked.toSeconds() <= 35);
    }
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        "host",
        "host:",
        ":1",
        "host:0",
        "host:65536",
        "a b:1",
        "http://host:1",
        "a:1,",
        "grpcs://a",
        "u@host:1",
        "unix:/socket"
      })
  void refusesInvalidTargets(String target) {
    InvalidRequestException error =
        assertThrows(InvalidRequestException.class, () -> HoldfastClient.builder(target).build());
    assertEquals("target", error.fieldViolations().get(0).field());
  }

  @Test
  void sendsNoTokenInPlaintextToAnotherMachine() {
    assertThrows(
        InvalidRequestException.class,
        () -> HoldfastClient.builder("example.com:1").token("secret").build());
    HoldfastClient.builder("localhost:1").token("secret").build().close();
    HoldfastClient.builder("127.0.0.1:1,[::1]:2").token("secret").build().close();
    HoldfastClient.builder("a.example:1").token("s").allowPlaintextToken().build().close();
    InvalidRequestException error =
        assertThrows(
            InvalidRequestException.class, () -> HoldfastClient.builder("a:1").token("sec ret"));
    assertTrue(!error.getMessage().contains("sec ret"));
  }

  private static List<SaveStreamRequest> messages(Payload payload, String received)
      throws Exception {
    List<SaveStreamRequest> messages = new ArrayList<>();
    new Outgoing(payload).stream(received, (done, all) -> {}, messages::add);
    return messages;
  }

  @Test
  void uploadsContinueAtEachPositionWithTheSameBytes() throws Exception {
    byte[] large = new byte[(2 << 20) + 5];
    large[large.length - 1] = 7;
    Payload payload =
        Payload.parts().with("a", large).with("b", new byte[0]).with("c", new byte[3]);
    for (String position :
        List.of("", "0:0", "0:1", "0:" + (1 << 20), "0:2097157", "1:0", "2:1", "2:3", "3:0")) {
      List<SaveStreamRequest> messages = messages(payload, position);
      SaveStreamRequest last = messages.get(messages.size() - 1);
      assertEquals(payload.sizeBytes(), last.getFinish().getSizeBytes(), position);
      ByteArrayOutputStream sent = new ByteArrayOutputStream();
      for (SaveStreamRequest message : messages.subList(0, messages.size() - 1)) {
        Chunk chunk = message.getChunk();
        byte[] data = chunk.getData().toByteArray();
        assertEquals(Checksums.crc32c(data, 0, data.length), chunk.getCrc32C());
        assertTrue(data.length <= 1 << 20);
        sent.write(data);
      }
      byte[] all = new byte[large.length + 3];
      all[large.length - 1] = 7;
      int from = all.length - sent.size();
      assertArrayEquals(java.util.Arrays.copyOfRange(all, from, all.length), sent.toByteArray());
    }
    assertThrows(InternalException.class, () -> messages(payload, "1"));
  }

  @Test
  void namesASourceThatIsShorterThanItsSize() {
    Payload payload =
        Payload.parts().with("weights", 10, () -> new ByteArrayInputStream(new byte[4]));
    InvalidRequestException error =
        assertThrows(InvalidRequestException.class, () -> messages(payload, ""));
    assertTrue(error.getMessage().contains("data['weights']"), error.getMessage());
  }

  @Test
  void migratesStepByStep() {
    Migrations migrations =
        Migrations.none()
            .with("f", 1, parts -> Map.of("", new byte[] {1}))
            .with("f", 2, parts -> Map.of("", new byte[] {parts.get("")[0], 2}))
            .with(
                "f",
                4,
                parts -> {
                  throw new IllegalStateException("four");
                });
    Format third = new Format("f", 3);
    assertEquals(new AcceptedFormat("f", 1, 3), migrations.accepted(third));
    assertArrayEquals(
        new byte[] {1, 2}, migrations.migrate(Map.of(), new Format("f", 1), third).get(""));
    FormatIncompatibleException failed =
        assertThrows(
            FormatIncompatibleException.class,
            () -> migrations.migrate(Map.of(), new Format("f", 4), new Format("f", 5)));
    assertTrue(failed.getMessage().contains("four"));
    assertThrows(InvalidRequestException.class, () -> migrations.with("f", 1, parts -> parts));
  }

  @Test
  void findsPageTokensThatRepeat() {
    assertThrows(
        InternalException.class,
        () -> {
          Answers.PageTokens tokens = Answers.PageTokens.NONE;
          for (int step = 0; step < 100; step++) {
            tokens = tokens.with("abcdefg".substring(step % 7, step % 7 + 1));
          }
        });
  }
}
