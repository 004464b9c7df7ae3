package dev.holdfast.client;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.holdfast.v1.SaveRequest;
import io.grpc.ClientInterceptor;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.UUID;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The client against a real server. */
class RealServerTest {
  private static final Format FORMAT = new Format("test", 1);
  private static final int LARGE = 64 << 20;
  // A machine may be busy with other tests.
  private static final Duration PATIENCE = Duration.ofMinutes(3);

  @TempDir static Path store;
  @TempDir Path folder;
  private static Server server;

  @BeforeAll
  static void start() throws IOException {
    server = Server.start(store);
  }

  @AfterAll
  static void stop() throws InterruptedException {
    if (server != null) {
      server.close();
    }
  }

  private static HoldfastClient client(ClientInterceptor... interceptors) {
    HoldfastClient.Builder builder = HoldfastClient.builder(server.address()).timeout(PATIENCE);
    List.of(interceptors).forEach(builder::interceptor);
    return builder.build();
  }

  private static String workflow() {
    return UUID.randomUUID().toString();
  }

  private static byte[] random(int size) {
    byte[] data = new byte[size];
    new Random(size).nextBytes(data);
    return data;
  }

  private static Payload text(String text) {
    return Payload.of(text.getBytes(UTF_8));
  }

  @Test
  void savesAndLoadsPartsOfAnySize() {
    String workflow = workflow();
    Payload data = Payload.parts().with("", new byte[0]).with("large", random(3 << 20));
    try (HoldfastClient client = client()) {
      client.save("java", workflow, data, FORMAT, SaveOptions.defaults().label("kind", "test"));
      LoadedCheckpoint loaded = client.load("java", workflow);
      assertArrayEquals(random(3 << 20), loaded.parts().get("large"));
      assertEquals(0, loaded.data().length);
      assertEquals(Map.of("kind", "test"), loaded.info().labels());
      assertEquals(FORMAT, loaded.format());
      assertEquals(List.of("", "large"), List.copyOf(loaded.parts().keySet()));
    }
  }

  @Test
  void streams64MebibytesBothWaysThroughFiles() throws IOException {
    String workflow = workflow();
    Path source = Files.write(folder.resolve("source"), random(LARGE));
    Path target = Files.writeString(folder.resolve("target"), "old");
    List<Long> progress = new ArrayList<>();
    try (HoldfastClient client = client()) {
      client.save("java", workflow, Payload.of(source), FORMAT);
      LoadOptions options = LoadOptions.defaults().progress((done, all) -> progress.add(done));
      LoadedFile loaded = client.loadTo("java", workflow, target, options);
      assertEquals(LARGE, loaded.part().sizeBytes());
      assertEquals(-1, Files.mismatch(source, target));
      assertEquals(LARGE, progress.get(progress.size() - 1));
      ByteArrayOutputStream stream = new ByteArrayOutputStream();
      client.loadTo("java", workflow, stream, LoadOptions.defaults());
      assertArrayEquals(random(LARGE), stream.toByteArray());
    }
    try (var files = Files.list(folder)) {
      assertEquals(2, files.count());
    }
  }

  @Test
  void resumesDownloadsThatAreCut() {
    String workflow = workflow();
    Faults faults = Faults.cutting("LoadStream", 4);
    try (HoldfastClient client = client(faults)) {
      client.save("java", workflow, Payload.of(random(6 << 20)), FORMAT);
      assertArrayEquals(random(6 << 20), client.load("java", workflow).data());
      long ranges =
          faults.sent.stream()
              .filter(dev.holdfast.v1.LoadStreamRequest.class::isInstance)
              .map(dev.holdfast.v1.LoadStreamRequest.class::cast)
              .filter(request -> request.getRangesCount() == 1)
              .peek(request -> assertTrue(request.getRanges(0).getOffset() > 0))
              .count();
      assertEquals(1, ranges);
    }
  }

  @Test
  void savesOnceThoughAnswersAreLost() {
    String workflow = workflow();
    Faults faults = Faults.losingAnswers("Save", 2);
    try (HoldfastClient client = client(faults)) {
      Checkpoint saved = client.save("java", workflow, text("a"), FORMAT);
      assertTrue(saved.replayed());
      assertEquals(1, saved.revision());
      List<SaveRequest> sent = faults.sent.stream().map(SaveRequest.class::cast).toList();
      assertEquals(List.of(1, 2, 3), sent.stream().map(RealServerTest::number).toList());
      assertEquals(
          1, sent.stream().map(each -> each.getHeader().getRequestId()).distinct().count());
      assertTrue(sent.get(2).getHeader().getAttempt().getElapsed().getNanos() > 0);
    }
  }

  private static int number(SaveRequest request) {
    return request.getHeader().getAttempt().getNumber();
  }

  @Test
  void savesAStreamOnceThoughItsAnswerIsLost() {
    String workflow = workflow();
    try (HoldfastClient client = client(Faults.losingAnswers("SaveStream", 1))) {
      Checkpoint saved = client.save("java", workflow, Payload.of(random(5 << 20)), FORMAT);
      assertTrue(saved.replayed());
      assertArrayEquals(random(5 << 20), client.load("java", workflow).data());
    }
  }

  @Test
  void refusesAFencedWriter() {
    String name = workflow();
    try (HoldfastClient client = client()) {
      Workflow first = client.workflow("java", name);
      Workflow second = client.workflow("java", name);
      first.acquireWriter();
      first.save(text("1"), FORMAT);
      second.acquireWriter();
      second.resume(FORMAT);
      WriterFencedException fenced =
          assertThrows(WriterFencedException.class, () -> first.save(text("2"), FORMAT));
      assertFalse(fenced.retryable());
      assertEquals(32, fenced.traceId().length());
      Checkpoint saved = second.save(text("3"), FORMAT);
      assertEquals(saved.revision(), second.revision().orElseThrow());
      assertEquals(2, saved.epoch());
    }
  }

  @Test
  void refusesAWriterWhoseRevisionIsOld() {
    String name = workflow();
    try (HoldfastClient client = client()) {
      Workflow first = client.workflow("java", name);
      Workflow second = client.workflow("java", name);
      first.save(text("1"), FORMAT);
      second.resume(FORMAT);
      second.save(text("2"), FORMAT);
      assertThrows(RevisionConflictException.class, () -> first.save(text("3"), FORMAT));
    }
  }

  @Test
  void continuesFromSavesOfItsOwnEpoch() {
    String name = workflow();
    try (HoldfastClient client = client()) {
      Workflow handle = client.workflow("java", name);
      Writer writer = handle.acquireWriter();
      handle.save(text("1"), FORMAT);
      SaveOptions same = SaveOptions.defaults().epoch(writer.epoch());
      Checkpoint beside = client.save("java", name, text("2"), FORMAT, same);
      assertEquals(beside.checkpointId(), handle.save(text("3"), FORMAT).parentId());
    }
  }

  @Test
  void waitsForAServerThatIsKilledAndStartedAgain() throws Exception {
    Path own = Files.createDirectory(folder.resolve("store"));
    try (Server killed = Server.start(own);
        HoldfastClient client =
            HoldfastClient.builder(killed.address()).timeout(PATIENCE).build()) {
      Workflow workflow = client.workflow("java", "wf");
      workflow.save(text("1"), FORMAT);
      killed.kill();
      CompletableFuture<Checkpoint> saving =
          workflow.async().save(text("2"), FORMAT, SaveOptions.defaults());
      killed.restart();
      assertEquals(2, saving.get().revision());
    }
  }

  @Test
  void migratesAndNamesTheReasonIfItCannot() {
    String name = workflow();
    Migrations migrations =
        Migrations.none()
            .with(
                "test",
                1,
                parts -> Map.of("", (new String(parts.get(""), UTF_8) + "2").getBytes(UTF_8)));
    try (HoldfastClient client = client()) {
      client.save("java", name, text("1"), FORMAT);
      Format wanted = new Format("test", 2);
      LoadedCheckpoint loaded =
          client.resume("java", name, wanted, migrations, LoadOptions.defaults());
      assertEquals("12", new String(loaded.data(), UTF_8));
      assertEquals(FORMAT, loaded.migratedFrom().orElseThrow());
      assertThrows(FormatIncompatibleException.class, () -> client.resume("java", name, wanted));
    }
  }

  @Test
  void fallsBackOnlyIfItMay() throws IOException {
    String name = "damaged";
    Path own = Files.createDirectory(folder.resolve("damaged-store"));
    try (Server damaged = Server.start(own);
        HoldfastClient client =
            HoldfastClient.builder(damaged.address()).timeout(PATIENCE).build()) {
      byte[] first = random(2 << 20);
      client.save("java", name, Payload.of(first), FORMAT);
      byte[] second = random((2 << 20) + 1);
      client.save("java", name, Payload.of(second), FORMAT);
      damage(own);
      CheckpointCorruptedException error =
          assertThrows(
              CheckpointCorruptedException.class, () -> client.resume("java", name, FORMAT));
      assertEquals(1, error.lastGood().orElseThrow().revision());
      LoadedCheckpoint older =
          client.load("java", name, LoadOptions.defaults().fallback().records());
      assertTrue(older.fellBack());
      assertArrayEquals(first, older.data());
      assertEquals(2, older.skipped().get(0).revision());
      assertFalse(client.validate("java", name, ValidateOptions.defaults()).resumable());
    } catch (InterruptedException interrupted) {
      throw new IOException(interrupted);
    }
  }

  /** Changes a byte of the newest blob. */
  private static void damage(Path store) throws IOException {
    try (var files = Files.walk(store)) {
      Path blob =
          files.filter(file -> file.toFile().length() == (2 << 20) + 1).findFirst().orElseThrow();
      byte[] data = Files.readAllBytes(blob);
      data[1 << 20] ^= 1;
      Files.write(blob, data);
    }
  }

  @Test
  void listsAndDeletesOverAllPages() {
    String name = workflow();
    try (HoldfastClient client = client()) {
      for (int index = 0; index < 5; index++) {
        client.save("java", name, text("" + index), FORMAT);
      }
      ListOptions two = ListOptions.defaults().pageSize(2);
      List<Long> found = client.list("java", name, two).stream().map(Checkpoint::revision).toList();
      assertEquals(List.of(5L, 4L, 3L, 2L, 1L), found);
      Checkpoint newest = client.list("java", name, two).iterator().next();
      assertEquals(6, client.delete("java", name, newest.checkpointId(), WriteOptions.defaults()));
      assertEquals(4, client.load("java", name).revision());
      assertEquals(3, client.prune("java", name, 1, WriteOptions.defaults()));
      client.deleteWorkflow("java", name, WriteOptions.defaults().purge());
      assertThrows(CheckpointNotFoundException.class, () -> client.load("java", name));
      assertThrows(WorkflowNotFoundException.class, () -> client.load("java", workflow()));
      assertTrue(client.listWorkflows("java", name).stream().count() == 1);
    }
  }

  @Test
  void returnsTheSamePageAsOftenAsItIsRequested() throws Exception {
    String name = workflow();
    try (HoldfastClient client = client()) {
      for (int index = 0; index < 4; index++) {
        client.save("java", name, text("" + index), FORMAT);
      }
      ListOptions one = ListOptions.defaults().pageSize(1);
      Page<Checkpoint> first = client.async().list("java", name, one).get();
      CompletableFuture<Page<Checkpoint>> cancelled = first.next().orElseThrow();
      cancelled.cancel(true);
      for (int time = 0; time < 3; time++) {
        Page<Checkpoint> second = first.next().orElseThrow().get();
        assertEquals(3, second.items().get(0).revision());
        assertEquals(2, second.next().orElseThrow().get().items().get(0).revision());
      }
    }
  }

  @Test
  void goesOnWithAListWhoseThreadWasInterrupted() {
    String name = workflow();
    try (HoldfastClient client = client(Faults.holding("List", 1))) {
      client.save("java", name, text("1"), FORMAT);
      client.save("java", name, text("2"), FORMAT);
      ListOptions one = ListOptions.defaults().pageSize(1);
      Iterator<Checkpoint> found = client.list("java", name, one).iterator();
      assertEquals(2, found.next().revision());
      Thread.currentThread().interrupt();
      assertThrows(CallInterruptedException.class, found::next);
      assertTrue(Thread.interrupted());
      assertEquals(1, found.next().revision());
      assertFalse(found.hasNext());
    }
  }

  @Test
  void attachesMoreRecordsThanOneCallTakes() {
    String name = workflow();
    List<CheckpointRecord> records =
        IntStream.range(0, 1500)
            .mapToObj(index -> CheckpointRecord.of(String.format("%05d", index), new byte[] {1}))
            .toList();
    try (HoldfastClient client = client()) {
      Workflow workflow = client.workflow("java", name);
      workflow.save(text("1"), FORMAT);
      workflow.attach(records);
      assertEquals(records, workflow.records());
      workflow.attach(List.of(CheckpointRecord.replacing("00000", new byte[] {2})));
      LoadedCheckpoint loaded = workflow.load(LoadOptions.defaults().records());
      assertEquals(1500, loaded.records().size());
      assertEquals(2, loaded.records().get(0).data()[0]);
    }
  }

  @Test
  void cancelsCallsWithTheirFutureAndTheirThread() throws Exception {
    try (HoldfastClient client = HoldfastClient.builder("127.0.0.1:1").build()) {
      CompletableFuture<LoadedCheckpoint> load =
          client.async().load("java", "wf", LoadOptions.defaults());
      load.cancel(true);
      assertThrows(CancellationException.class, load::join);
      Thread.currentThread().interrupt();
      assertThrows(CallInterruptedException.class, () -> client.load("java", "wf"));
      assertTrue(Thread.interrupted());
    }
  }

  @Test
  void endsRunningCallsWhenItIsClosed() {
    HoldfastClient client = HoldfastClient.builder("127.0.0.1:1").build();
    CompletableFuture<LoadedCheckpoint> load =
        client.async().load("java", "wf", LoadOptions.defaults());
    client.close();
    ExecutionException failed =
        assertThrows(ExecutionException.class, () -> load.get(3, TimeUnit.MINUTES));
    assertInstanceOf(ClientClosedException.class, failed.getCause());
    assertThrows(ClientClosedException.class, () -> client.load("java", "wf"));
  }

  @Test
  void usesTheAddressThatAnswers() {
    String name = workflow();
    String both = "127.0.0.1:1," + server.address();
    try (HoldfastClient client = HoldfastClient.builder(both).build()) {
      assertEquals(1, client.save("java", name, text("1"), FORMAT).revision());
    }
  }

  @Test
  void endsCallsWithoutServerAtTheirDeadline() {
    try (HoldfastClient client = HoldfastClient.builder("127.0.0.1:1").build()) {
      LoadOptions options = LoadOptions.defaults().timeout(Duration.ofMillis(300));
      HoldfastException error =
          assertThrows(HoldfastException.class, () -> client.load("java", "wf", options));
      assertTrue(
          List.of("SERVER_UNAVAILABLE", "DEADLINE_EXCEEDED").contains(error.reason()),
          error.toString());
      assertEquals(32, error.traceId().length());
    }
  }

  @Test
  void leavesAFileAloneIfTheLoadFails() throws IOException {
    Path file = Files.writeString(folder.resolve("kept"), "old");
    try (HoldfastClient client = client()) {
      assertThrows(
          WorkflowNotFoundException.class,
          () -> client.loadTo("java", workflow(), file, LoadOptions.defaults()));
    }
    assertEquals("old", Files.readString(file));
    try (var files = Files.list(folder)) {
      assertEquals(1, files.count());
    }
  }
}
