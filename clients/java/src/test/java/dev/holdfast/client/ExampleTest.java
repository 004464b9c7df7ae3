package dev.holdfast.client;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The example, killed on its way. */
class ExampleTest {
  private static final String SUM = "sum 2686700";

  @TempDir Path store;

  @Test
  void continuesAfterAKillWithTheSameResult() throws Exception {
    try (Server server = Server.start(store)) {
      Process killed = example(server);
      try (BufferedReader output = output(killed)) {
        for (String line = output.readLine(); ; line = output.readLine()) {
          assertTrue(line != null && !line.startsWith("sum"), "it ended before it was killed");
          if (line.equals("saved step 20")) {
            break;
          }
        }
        killed.destroyForcibly().waitFor(30, TimeUnit.SECONDS);
      }
      List<String> lines = new ArrayList<>();
      Process resumed = example(server);
      try (BufferedReader output = output(resumed)) {
        for (String line = output.readLine(); line != null; line = output.readLine()) {
          lines.add(line);
        }
      }
      assertEquals(0, resumed.waitFor(), lines.toString());
      assertTrue(lines.get(0).startsWith("resumed after step "), lines.get(0));
      assertEquals(SUM, lines.get(lines.size() - 1));
    }
  }

  private static Process example(Server server) throws IOException {
    return new ProcessBuilder(
            Path.of(System.getProperty("java.home"), "bin", "java").toString(),
            "-cp",
            System.getProperty("java.class.path"),
            "example/Count.java",
            server.address(),
            "count")
        .redirectErrorStream(true)
        .start();
  }

  private static BufferedReader output(Process process) {
    return new BufferedReader(new InputStreamReader(process.getInputStream(), UTF_8));
  }
}
