package dev.holdfast.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Sources, observers and sources of tokens that fail or block: each call ends all the same. */
class CallersCodeTest {
  private static final Format FORMAT = new Format("test", 1);
  private static final int SMALL = 1000;
  private static final int LARGE = 5 << 20;
  // A machine may be busy with other tests.
  private static final Duration PATIENCE = Duration.ofMinutes(3);

  @TempDir static Path store;
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

  private static HoldfastClient client() {
    return HoldfastClient.builder(server.address()).timeout(PATIENCE).build();
  }

  /** Returns why a call failed, and fails itself if the call does not end. */
  private static Throwable failure(CompletableFuture<?> call) {
    return assertThrows(
            ExecutionException.class, () -> call.get(PATIENCE.toSeconds(), TimeUnit.SECONDS))
        .getCause();
  }

  @ParameterizedTest
  @ValueSource(ints = {SMALL, LARGE})
  void anErrorOfASourceEndsTheSave(int size) {
    AssertionError thrown = new AssertionError("of the source");
    Payload data =
        Payload.of(
            size,
            () -> {
              throw thrown;
            });
    try (HoldfastClient client = client()) {
      assertEquals(
          thrown, failure(client.async().save("java", "wf", data, FORMAT, SaveOptions.defaults())));
    }
  }

  @Test
  void anErrorOfAnObserverEndsTheCallAndIsNotRetried() {
    AssertionError thrown = new AssertionError("of the observer");
    Progress failing =
        (done, all) -> {
          throw thrown;
        };
    Payload data = Payload.of(new byte[LARGE]);
    Faults faults = Faults.none();
    try (HoldfastClient client =
        HoldfastClient.builder(server.address()).timeout(PATIENCE).interceptor(faults).build()) {
      SaveOptions observed = SaveOptions.defaults().progress(failing);
      assertEquals(thrown, failure(client.async().save("java", "wf", data, FORMAT, observed)));
      client.save("java", "observed", data, FORMAT);
      LoadOptions load = LoadOptions.defaults().progress(failing);
      assertEquals(thrown, failure(client.async().load("java", "observed", load)));
    }
    assertEquals(
        1,
        faults.sent.stream().filter(dev.holdfast.v1.LoadStreamRequest.class::isInstance).count());
  }

  @Test
  void aHeapWithoutRoomIsNotRetried() {
    LoadOptions full =
        LoadOptions.defaults()
            .progress(
                (done, all) -> {
                  throw new OutOfMemoryError("as a buffer does");
                });
    try (HoldfastClient client = client()) {
      client.save("java", "full", Payload.of(new byte[LARGE]), FORMAT);
      assertThrows(PayloadTooLargeException.class, () -> client.load("java", "full", full));
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {SMALL, LARGE})
  void aSourceThatBlocksHoldsNoSaveBeyondItsDeadline(int size) {
    CountDownLatch opened = new CountDownLatch(1);
    CountDownLatch over = new CountDownLatch(1);
    SaveOptions options = SaveOptions.defaults().timeout(Duration.ofMillis(300));
    try (HoldfastClient client = client()) {
      Payload data = Payload.of(size, () -> blocked(opened, over));
      assertInstanceOf(
          DeadlineExceededException.class,
          failure(client.async().save("java", "wf", data, FORMAT, options)));
    } finally {
      over.countDown();
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {SMALL, LARGE})
  void aSourceThatBlocksHoldsNoSaveBeyondTheEndOfTheClient(int size) throws Exception {
    CountDownLatch opened = new CountDownLatch(1);
    CountDownLatch over = new CountDownLatch(1);
    try {
      HoldfastClient client = client();
      Payload data = Payload.of(size, () -> blocked(opened, over));
      CompletableFuture<Checkpoint> saving =
          client.async().save("java", "wf", data, FORMAT, SaveOptions.defaults());
      opened.await();
      client.close();
      assertInstanceOf(ClientClosedException.class, failure(saving));
    } finally {
      over.countDown();
    }
  }

  @Test
  void aSourceOfTokensThatBlocksHoldsNoCallBeyondTheEndOfTheClient() throws Exception {
    CountDownLatch opened = new CountDownLatch(1);
    CountDownLatch over = new CountDownLatch(1);
    try {
      HoldfastClient client =
          HoldfastClient.builder(server.address())
              .timeout(PATIENCE)
              .token(() -> String.valueOf(blocked(opened, over)))
              .build();
      CompletableFuture<Capabilities> call = client.async().capabilities();
      opened.await();
      client.close();
      assertInstanceOf(ClientClosedException.class, failure(call));
    } finally {
      over.countDown();
    }
  }

  private static InputStream blocked(CountDownLatch opened, CountDownLatch over) {
    opened.countDown();
    try {
      over.await();
    } catch (InterruptedException interrupted) {
      throw new IllegalStateException(interrupted);
    }
    return InputStream.nullInputStream();
  }

  /** Writes a file as a load does. */
  static final class Writing {
    private Writing() {}

    public static void main(String[] arguments) throws IOException {
      try (Draft draft = Draft.of(Path.of(arguments[0]))) {
        draft.commit();
      }
    }
  }

  @Test
  @EnabledOnOs({OS.LINUX, OS.MAC})
  void aNewFileHasTheModeOfThisProcessAndAnOldOneKeepsItsOwn(@TempDir Path folder)
      throws Exception {
    Path old = Files.createFile(folder.resolve("old"));
    Files.setPosixFilePermissions(old, PosixFilePermissions.fromString("rw-rw-r--"));
    Path made = folder.resolve("new");
    for (Path target : new Path[] {old, made}) {
      Process process =
          new ProcessBuilder(
                  "sh",
                  "-c",
                  "umask 077; exec \"$@\"",
                  "sh",
                  Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                  "-cp",
                  System.getProperty("java.class.path"),
                  Writing.class.getName(),
                  target.toString())
              .inheritIO()
              .start();
      assertEquals(0, process.waitFor());
    }
    assertEquals("rw-rw-r--", PosixFilePermissions.toString(Files.getPosixFilePermissions(old)));
    assertEquals("rw-------", PosixFilePermissions.toString(Files.getPosixFilePermissions(made)));
    try (var files = Files.list(folder)) {
      assertEquals(2, files.count());
    }
  }
}
