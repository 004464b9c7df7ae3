package dev.holdfast.client;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Assumptions;

/** A real server with a store of its own, started by the command in HOLDFAST_SERVER. */
final class Server implements AutoCloseable {
  private static final Pattern ADDRESS = Pattern.compile("listens on (127\\.0\\.0\\.1:[0-9]+)");
  private static final String DEFAULT = "../../.venv/bin/holdfast-server";

  private final Path store;
  private Process process;
  private String address;

  private Server(Path store) {
    this.store = store;
  }

  static Server start(Path store) throws IOException {
    Server server = new Server(store);
    server.start("127.0.0.1:0");
    return server;
  }

  String address() {
    return address;
  }

  /** Kills the server and starts another one on the same store and address. */
  void restart() throws IOException, InterruptedException {
    kill();
    start(address);
  }

  void kill() throws InterruptedException {
    process.destroyForcibly().waitFor(30, TimeUnit.SECONDS);
  }

  private void start(String listen) throws IOException {
    String given = System.getenv().getOrDefault("HOLDFAST_SERVER", DEFAULT);
    List<String> command = new ArrayList<>(List.of(given.split(" ")));
    boolean isThere = !command.get(0).contains("/") || Files.isExecutable(Path.of(command.get(0)));
    if (!"true".equals(System.getenv("CI"))) {
      Assumptions.assumeTrue(isThere, "needs a server: " + given);
    }
    command.addAll(List.of("serve", "--listen", listen, "--store", "file://" + store));
    process = new ProcessBuilder(command).redirectErrorStream(true).start();
    BufferedReader log = new BufferedReader(new InputStreamReader(process.getInputStream(), UTF_8));
    StringBuilder said = new StringBuilder();
    for (String line = log.readLine(); line != null; line = log.readLine()) {
      said.append(line).append('\n');
      Matcher found = ADDRESS.matcher(line);
      if (found.find()) {
        address = found.group(1);
        Thread reader = new Thread(() -> drain(log));
        reader.setDaemon(true);
        reader.start();
        return;
      }
    }
    throw new IOException("the server ended: " + said);
  }

  private static void drain(BufferedReader log) {
    try (log) {
      while (log.readLine() != null) {}
    } catch (IOException killed) {
      return;
    }
  }

  @Override
  public void close() throws InterruptedException {
    kill();
  }
}
