package dev.holdfast.client;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.ByteString;
import com.google.protobuf.Message;
import dev.holdfast.v1.AttachRecordsResponse;
import dev.holdfast.v1.GetCapabilitiesRequest;
import dev.holdfast.v1.GetCapabilitiesResponse;
import dev.holdfast.v1.ListRequest;
import dev.holdfast.v1.LoadRequest;
import dev.holdfast.v1.LoadResponse;
import dev.holdfast.v1.SaveResponse;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * The heads that a client remembers, and the logs that were rolled back which it notices by them.
 */
class HeadsTest {
  private static final Format FORMAT = new Format("test", 1);
  private static final LoadRequest REQUEST =
      LoadRequest.newBuilder().setNamespace("java").setWorkflowId("wf").build();

  private final SeenHeads seen = new SeenHeads();

  private static String digest(int letter) {
    return String.format("%02x", letter).repeat(32);
  }

  private static Head head(long revision, int letter) {
    return new Head(revision, digest(letter));
  }

  private static dev.holdfast.v1.Head message(long revision, int letter) {
    return dev.holdfast.v1.Head.newBuilder()
        .setRevision(revision)
        .setDigest(ByteString.fromHex(digest(letter)))
        .build();
  }

  private static Message loaded(long revision, int letter) {
    return LoadResponse.newBuilder().setHead(message(revision, letter)).build();
  }

  private static HoldfastException named(String revision, String digest) {
    Map<String, String> metadata = new HashMap<>();
    metadata.put("head_revision", revision);
    if (digest != null) {
      metadata.put("head_digest", digest);
    }
    return Reasons.exception(
        Reasons.failure("WORKFLOW_NOT_FOUND", "none")
            .withCall("trace", "request")
            .withMetadata(metadata),
        null);
  }

  @Test
  void headsOfAnyRevisionAreReadFromTheirText() {
    for (long revision : new long[] {1, (1L << 53) + 1, Long.MAX_VALUE}) {
      Head head = head(revision, 0xab);
      assertEquals(head, Head.parse(head.toString()));
      assertEquals(revision + ":" + digest(0xab), head.toString());
    }
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        "1",
        "1:",
        ":D",
        "0:D",
        "-1:D",
        "+1:D",
        " 1:D",
        "1:D ",
        "9223372036854775808:D"
      })
  void otherTextsAreNoHeads(String text) {
    InvalidRequestException error =
        assertThrows(InvalidRequestException.class, () -> Head.parse(text.replace("D", digest(1))));
    assertTrue(error.fieldViolations().get(0).field().startsWith("head"), error.toString());
    assertThrows(InvalidRequestException.class, () -> Head.parse(null));
    assertThrows(InvalidRequestException.class, () -> new Head(1, digest(0xab).toUpperCase()));
  }

  @Test
  void olderAndOtherHeadsAreRefused() {
    seen.watch(REQUEST).require(loaded(5, 1));
    for (Message answer : List.of(loaded(4, 1), loaded(5, 2), loaded(1, 1))) {
      RolledBackException error =
          assertThrows(RolledBackException.class, () -> seen.watch(REQUEST).require(answer));
      assertEquals("5", error.metadata().get("seen_revision"));
      assertEquals(digest(1), error.metadata().get("seen_digest"));
      assertTrue(!error.retryable() && !error.advice().isEmpty());
    }
    // What was seen before stays.
    assertEquals(Optional.of(head(5, 1)), seen.get("java", "wf"));
    seen.watch(REQUEST).require(loaded(5, 1));
    seen.watch(REQUEST).require(loaded(6, 2));
    assertEquals(Optional.of(head(6, 2)), seen.get("java", "wf"));
  }

  @Test
  void headsAreComparedWithThoseBeforeTheCall() {
    SeenHeads.Watch slow = seen.watch(REQUEST);
    seen.watch(REQUEST).require(loaded(5, 1));
    slow.require(loaded(4, 1));
    assertEquals(Optional.of(head(5, 1)), seen.get("java", "wf"));
  }

  @Test
  void replaysMayNameOlderHeadsButNotOtherOnes() {
    seen.watch(REQUEST).require(loaded(5, 1));
    SaveResponse.Builder replay = SaveResponse.newBuilder().setReplayed(true);
    seen.watch(REQUEST).require(replay.setHead(message(2, 2)).build());
    assertThrows(
        RolledBackException.class,
        () -> seen.watch(REQUEST).require(replay.setHead(message(5, 2)).build()));
  }

  @Test
  void headsOfErrorsAreComparedToo() {
    seen.watch(REQUEST).require(loaded(5, 1));
    HoldfastException gone = named("0", "");
    HoldfastException error = seen.watch(REQUEST).checked(gone);
    assertInstanceOf(RolledBackException.class, error);
    assertSame(gone, error.getCause());
    assertEquals("trace", error.traceId());
    assertEquals("request", error.requestId());
    for (HoldfastException other :
        List.of(
            named("9", digest(1)),
            named("1", null),
            named("1", "zz"),
            named("", digest(1)),
            named("9999999999999999999", digest(1)))) {
      assertSame(other, seen.watch(REQUEST).checked(other));
    }
    assertEquals(Optional.of(head(9, 1)), seen.get("java", "wf"));
  }

  @Test
  void impossibleHeadsAreErrorsOfTheServer() {
    for (dev.holdfast.v1.Head.Builder wrong :
        List.of(
            message(1, 1).toBuilder().setRevision(-1),
            message(1, 1).toBuilder().setDigest(ByteString.copyFromUtf8("short")))) {
      assertThrows(
          InternalException.class,
          () -> seen.watch(REQUEST).require(LoadResponse.newBuilder().setHead(wrong).build()));
    }
    assertEquals(Optional.empty(), seen.get("java", "wf"));
  }

  @Test
  void answersAboutNoWorkflowAreNotCompared() {
    seen.watch(REQUEST).require(loaded(5, 1));
    seen.watch(GetCapabilitiesRequest.getDefaultInstance())
        .require(GetCapabilitiesResponse.getDefaultInstance());
    seen.watch(ListRequest.newBuilder().setNamespace("java").build()).require(loaded(1, 1));
    seen.watch(REQUEST).require(AttachRecordsResponse.getDefaultInstance());
    seen.watch(REQUEST.toBuilder().setNamespace("other").build()).require(loaded(1, 1));
    seen.watch(REQUEST.toBuilder().setWorkflowId("other").build()).require(loaded(1, 1));
  }

  @Test
  void theNewestOfAnyHeadsIsRemembered() {
    Random random = new Random(1);
    long newest = 0;
    for (int step = 0; step < 1000; step++) {
      long revision = 1 + random.nextInt(100_000);
      newest = Math.max(newest, revision);
      seen.keep("java", "wf", head(revision, 1));
      assertEquals(newest, seen.get("java", "wf").orElseThrow().revision());
    }
    seen.forget("java", "wf");
    assertEquals(Optional.empty(), seen.get("java", "wf"));
  }

  @Test
  void theMemoryIsBoundedAndKeepsWhatIsUsed() {
    seen.keep("java", "used", head(1, 1));
    seen.keep("java", "unused", head(1, 1));
    for (int index = 0; index < SeenHeads.MOST_WORKFLOWS - 1; index++) {
      seen.get("java", "used");
      seen.keep("java", "wf-" + index, head(1, 1));
    }
    assertEquals(Optional.of(head(1, 1)), seen.get("java", "used"));
    assertEquals(Optional.empty(), seen.get("java", "unused"));
    assertEquals(Optional.of(head(1, 1)), seen.get("java", "wf-0"));
  }

  @Test
  void aStoreThatWasRolledBackIsNoticed(@TempDir Path folder) throws Exception {
    Path store = Files.createDirectory(folder.resolve("store"));
    byte[] large = new byte[3 << 20];
    try (Server server = Server.start(store);
        HoldfastClient client = client(server)) {
      Workflow workflow = client.workflow("java", "wf");
      assertEquals(Optional.empty(), workflow.head());
      workflow.save(Payload.of(large), FORMAT);
      assertEquals(1, workflow.head().orElseThrow().revision());
      server.kill();
      copy(store, folder.resolve("older"));
      server.restart();
      workflow.save(Payload.of("2".getBytes(UTF_8)), FORMAT);
      Head kept = Head.parse(workflow.head().orElseThrow().toString());
      assertEquals(2, kept.revision());
      server.kill();
      Files.move(store, folder.resolve("newer"));
      Files.move(folder.resolve("older"), store);
      server.restart();

      RolledBackException error =
          assertThrows(RolledBackException.class, () -> workflow.resume(FORMAT));
      assertEquals("1", error.metadata().get("head_revision"));
      assertEquals(Optional.empty(), error.lastGood());
      assertEquals(32, error.traceId().length());
      assertThrows(
          RolledBackException.class,
          () -> client.list("java", "wf", ListOptions.defaults()).iterator().hasNext());
      assertEquals(Optional.of(kept), client.head("java", "wf"));

      try (HoldfastClient next = client(server)) {
        LoadOptions load = LoadOptions.defaults().notBefore(kept);
        Path target = Files.writeString(folder.resolve("target"), "old");
        assertThrows(RolledBackException.class, () -> next.load("java", "wf", load));
        assertThrows(RolledBackException.class, () -> next.loadTo("java", "wf", target, load));
        assertEquals("old", Files.readString(target));
        // The head stays with the client.
        assertThrows(RolledBackException.class, () -> next.load("java", "wf"));
        next.forgetHead("java", "wf");
        assertEquals(1, next.load("java", "wf").revision());
        ValidateOptions validate = ValidateOptions.defaults().notBefore(kept);
        assertThrows(RolledBackException.class, () -> next.validate("java", "wf", validate));
      }
      client.forgetHead("java", "wf");
      assertEquals(1, workflow.resume(FORMAT).revision());
    }
  }

  private static HoldfastClient client(Server server) {
    return HoldfastClient.builder(server.address()).timeout(Duration.ofMinutes(3)).build();
  }

  private static void copy(Path from, Path to) throws IOException {
    try (var files = Files.walk(from)) {
      files
          .sorted(Comparator.naturalOrder())
          .forEach(
              file -> {
                try {
                  Files.copy(file, to.resolve(from.relativize(file)));
                } catch (IOException failure) {
                  throw new UncheckedIOException(failure);
                }
              });
    }
  }
}
