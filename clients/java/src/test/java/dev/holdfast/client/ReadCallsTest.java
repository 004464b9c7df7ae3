package dev.holdfast.client;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.holdfast.v1.GetUsageRequest;
import dev.holdfast.v1.ListLogRequest;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.Set;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Logs, namespaces and usage, of a real server. */
class ReadCallsTest {
  private static final Format FORMAT = new Format("test", 1);

  @TempDir static Path store;
  private static Server server;
  private static HoldfastClient client;

  @BeforeAll
  static void start() throws IOException {
    server = Server.start(store);
    client = HoldfastClient.builder(server.address()).timeout(Duration.ofMinutes(3)).build();
  }

  @AfterAll
  static void stop() throws InterruptedException {
    if (client != null) {
      client.close();
    }
    if (server != null) {
      server.close();
    }
  }

  private static Payload text(String text) {
    return Payload.of(text.getBytes(UTF_8));
  }

  @Test
  void aLogHasAllThatHappenedNewestFirst() {
    Workflow workflow = client.workflow("log", "wf");
    workflow.acquireWriter(AcquireOptions.defaults().lease(Duration.ofMinutes(5), "me"));
    Checkpoint first = workflow.save(text("1"), FORMAT);
    Checkpoint second = workflow.save(text("2"), FORMAT);
    WriteOptions write = WriteOptions.defaults().epoch(workflow.epoch().orElseThrow());
    client.delete("log", "wf", first.checkpointId(), write.purge());
    List<LogEntry> log =
        client.log("log", "wf", LogOptions.defaults().pageSize(2)).stream().toList();
    assertEquals(
        List.of(
            LogEntryKind.DELETION,
            LogEntryKind.CHECKPOINT,
            LogEntryKind.CHECKPOINT,
            LogEntryKind.FENCE),
        log.stream().map(LogEntry::kind).toList());
    assertEquals(List.of(4L, 3L, 2L, 1L), log.stream().map(LogEntry::revision).toList());
    LogEntry saved = log.get(1);
    assertEquals(second.checkpointId(), saved.checkpointId());
    assertEquals(second.parts(), saved.checkpoint().orElseThrow().parts());
    assertEquals(second.requestId(), saved.requestId());
    assertFalse(saved.deleted() || saved.purged());
    // What was purged has its id only.
    LogEntry purged = log.get(2);
    assertEquals(first.checkpointId(), purged.checkpointId());
    assertTrue(purged.purged() && purged.deleted());
    assertEquals(Optional.empty(), purged.checkpoint());
    assertEquals(first.checkpointId(), log.get(0).affectedCheckpointId());
    assertEquals(List.of(new RevisionRange(2, 2)), log.get(0).affected());
    LogEntry fence = log.get(3);
    assertEquals("me", fence.holder());
    assertEquals(1, fence.epoch());
    assertTrue(fence.leaseExpires().isPresent() && fence.created().isPresent());

    LogOptions between = LogOptions.defaults().afterRevision(1).beforeRevision(4);
    assertEquals(
        List.of(3L, 2L),
        client.log("log", "wf", between).stream().map(LogEntry::revision).toList());
    assertEquals(4, client.head("log", "wf").orElseThrow().revision());

    client.deleteWorkflow("log", "wf", write);
    List<LogEntry> deleted = client.log("log", "wf", LogOptions.defaults()).stream().toList();
    assertEquals(LogEntryKind.WORKFLOW_DELETION, deleted.get(0).kind());
    LogEntry collected = deleted.get(1);
    assertEquals(LogEntryKind.COLLECTED, collected.kind());
    assertEquals(1, collected.firstRevision());
    assertEquals(4, collected.revision());
    assertEquals(Optional.empty(), collected.created());
    assertThrows(
        WorkflowNotFoundException.class,
        () -> client.log("log", "none", LogOptions.defaults()).iterator().hasNext());
  }

  @Test
  void namespacesAreListedByTheirPrefix() {
    client.save("names-a", "wf", text("1"), FORMAT);
    client.save("names-b", "wf", text("1"), FORMAT);
    client.save("other", "wf", text("1"), FORMAT);
    assertEquals(
        List.of("names-a", "names-b"), client.namespaces("names-").stream().sorted().toList());
    assertTrue(client.namespaces("").stream().toList().contains("other"));
    assertEquals(0, client.namespaces("none").stream().count());
  }

  @Test
  void usageMeasuresEachWorkflowOnce() throws Exception {
    byte[] payload = new byte[10_000];
    for (int index = 0; index < 3; index++) {
      client.save("usage", "wf-" + index, Payload.of(payload), FORMAT);
    }
    client.save("usage", "other", Payload.of(payload), FORMAT);
    UsageOptions options = UsageOptions.defaults().prefix("wf-").pageSize(1);
    List<WorkflowUsage> found = client.usage("usage", options).stream().toList();
    assertEquals(
        List.of("wf-0", "wf-1", "wf-2"),
        found.stream().map(WorkflowUsage::workflowId).sorted().toList());
    for (WorkflowUsage each : found) {
      assertEquals(OptionalLong.of(1), each.checkpoints());
      assertEquals(OptionalLong.of(payload.length), each.sizeBytes());
      assertEquals(1, each.headRevision());
      assertEquals(
          each.storedBytes(),
          each.liveBytes().orElseThrow()
              + each.deletedBytes().orElseThrow()
              + each.recordBytes()
              + each.indexBytes());
    }
    UsageOptions one = UsageOptions.defaults().workflowId("wf-1").storedOnly();
    WorkflowUsage stored = client.usage("usage", one).iterator().next();
    assertEquals(OptionalLong.empty(), stored.checkpoints());
    assertTrue(stored.objects() >= 1 && stored.storedBytes() > 0);

    List<String> names = new ArrayList<>();
    UsagePage page = client.async().usage("usage", options).get();
    while (true) {
      page.workflows().forEach(each -> names.add(each.workflowId()));
      assertEquals(0, page.damagedListings());
      if (page.isLast()) {
        break;
      }
      page = page.next().orElseThrow().get();
    }
    assertEquals(3, names.size());
    assertThrows(
        WorkflowNotFoundException.class,
        () ->
            client.usage("usage", UsageOptions.defaults().workflowId("none")).iterator().hasNext());
  }

  @Test
  void wrongArgumentsAreNamed() {
    for (PagedIterable<?> list :
        List.of(
            client.log("log", "wf", null),
            client.log(null, "wf", LogOptions.defaults()),
            client.namespaces(null),
            client.usage("usage", null),
            client.usage(null, UsageOptions.defaults()),
            client.usage("usage", UsageOptions.defaults().workflowId("a").prefix("b")),
            client.log("log", "wf", LogOptions.defaults().pageSize(-1)))) {
      InvalidRequestException error =
          assertThrows(InvalidRequestException.class, () -> list.iterator().hasNext());
      assertFalse(error.fieldViolations().isEmpty(), error.toString());
    }
  }

  private static dev.holdfast.v1.LogEntry entry(long first, long last) {
    return dev.holdfast.v1.LogEntry.newBuilder()
        .setFirstRevision(first)
        .setRevision(last)
        .setKind(dev.holdfast.v1.LogEntryKind.LOG_ENTRY_KIND_COLLECTED)
        .build();
  }

  @Test
  void answersThatContradictThemselvesAreRefused() {
    ListLogRequest log =
        ListLogRequest.newBuilder().setNamespace("java").setWorkflowId("wf").build();
    Answers.requireEntries(List.of(entry(5, 5), entry(2, 4), entry(1, 1)), log);
    dev.holdfast.v1.LogEntry other =
        entry(5, 5).toBuilder()
            .setKind(dev.holdfast.v1.LogEntryKind.LOG_ENTRY_KIND_CHECKPOINT)
            .setCheckpoint(
                dev.holdfast.v1.Checkpoint.newBuilder()
                    .setNamespace("java")
                    .setWorkflowId("other")
                    .setCheckpointId("id")
                    .setRevision(5))
            .build();
    for (List<dev.holdfast.v1.LogEntry> wrong :
        List.of(
            List.of(entry(0, 1)),
            List.of(entry(2, 1)),
            List.of(entry(5, 5), entry(5, 5)),
            List.of(entry(3, 5), entry(2, 3)),
            List.of(other))) {
      assertThrows(InternalException.class, () -> Answers.requireEntries(wrong, log));
    }
    GetUsageRequest usage = GetUsageRequest.newBuilder().setWorkflowIdPrefix("wf-").build();
    dev.holdfast.v1.WorkflowUsage.Builder found =
        dev.holdfast.v1.WorkflowUsage.newBuilder().setWorkflowId("wf-1");
    assertEquals("wf-1", WorkflowUsage.of(found.build(), usage).workflowId());
    assertThrows(
        InternalException.class,
        () -> WorkflowUsage.of(found.clone().setWorkflowId("other").build(), usage));
    assertThrows(
        InternalException.class,
        () -> WorkflowUsage.of(found.clone().setSizeBytes(-1).build(), usage));
  }

  @Test
  void kindsOfANewerServerAreUnknown() {
    dev.holdfast.v1.LogEntry newer = entry(1, 1).toBuilder().setKindValue(99).build();
    assertEquals(LogEntryKind.UNKNOWN, LogEntry.of(newer).kind());
    Set<dev.holdfast.v1.LogEntryKind> unknown =
        EnumSet.of(
            dev.holdfast.v1.LogEntryKind.LOG_ENTRY_KIND_UNSPECIFIED,
            dev.holdfast.v1.LogEntryKind.UNRECOGNIZED);
    for (dev.holdfast.v1.LogEntryKind each : dev.holdfast.v1.LogEntryKind.values()) {
      assertEquals(
          unknown.contains(each), LogEntryKind.of(each) == LogEntryKind.UNKNOWN, each.toString());
    }
  }
}
