package dev.holdfast.client;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The code of the README, compiled and run in its order against a real server. */
class ReadmeTest {
  private static final Pattern BLOCK = Pattern.compile("```java\n(.*?)```", Pattern.DOTALL);
  private static final String PROGRAM =
      """
      import static java.nio.charset.StandardCharsets.UTF_8;

      import dev.holdfast.client.*;
      import java.nio.file.Path;
      import java.util.List;
      import java.util.Map;
      import java.util.concurrent.CompletableFuture;

      class Readme {
        static String text(Map<String, byte[]> parts) {
          return new String(parts.get(""), UTF_8);
        }

        public static void main(String[] arguments) throws Exception {
          byte[] config = {1};
          %s
          try (HoldfastClient client = HoldfastClient.builder("TARGET").build()) {
            Workflow workflow = client.workflow("team-a", "order-17");
            workflow.resume(new Format("my-engine", 1));
            %s
          }
        }
      }
      """;

  @TempDir Path folder;

  @Test
  void runsAsWritten() throws Exception {
    String readme = Files.readString(Path.of("README.md"));
    List<String> blocks = BLOCK.matcher(readme).results().map(found -> found.group(1)).toList();
    assertTrue(blocks.size() > 5);
    String others = blocks.stream().skip(1).collect(Collectors.joining("\n"));
    Files.write(folder.resolve("weights.bin"), new byte[2 << 20]);
    try (Server server = Server.start(Files.createDirectory(folder.resolve("store")))) {
      String program =
          String.format(PROGRAM, blocks.get(0), others)
              .replace("TARGET", server.address())
              .replace("127.0.0.1:7433", server.address());
      Path file = Files.writeString(folder.resolve("Readme.java"), program);
      Process process =
          new ProcessBuilder(
                  Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                  "-cp",
                  System.getProperty("java.class.path"),
                  file.toString())
              .directory(folder.toFile())
              .redirectErrorStream(true)
              .start();
      String output = new String(process.getInputStream().readAllBytes(), UTF_8);
      assertEquals(0, process.waitFor(), output);
      List<String> lines = output.lines().toList();
      assertEquals(List.of("step 2", "begins: WORKFLOW_NOT_FOUND"), lines.subList(0, 2));
      assertEquals("1", lines.get(lines.size() - 1));
    }
    assertEquals(-1, Files.mismatch(folder.resolve("weights.bin"), folder.resolve("copy.bin")));
  }
}
