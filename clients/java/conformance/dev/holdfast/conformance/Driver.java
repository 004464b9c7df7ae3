package dev.holdfast.conformance;

import static java.nio.charset.StandardCharsets.UTF_8;

import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import dev.holdfast.client.HoldfastException;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;

/**
 * The driver of the conformance kit: reads commands from standard input, runs them on the client,
 * and writes their answers to standard output. {@code --mutant NAME} makes it behave wrongly.
 */
public final class Driver {
  private static final Gson GSON =
      new GsonBuilder().serializeNulls().disableHtmlEscaping().create();

  private Driver() {}

  /**
   * Runs the driver.
   *
   * @param arguments nothing, or a mutant
   * @throws IOException the commands cannot be read
   */
  public static void main(String[] arguments) throws IOException {
    String mutant = arguments.length == 2 && arguments[0].equals("--mutant") ? arguments[1] : "";
    if (arguments.length > 0 && !Mutants.NAMES.contains(mutant)) {
      throw new IllegalArgumentException("--mutant must be one of " + Mutants.NAMES);
    }
    PrintStream output = new PrintStream(System.out, true, UTF_8);
    ExecutorService threads = Executors.newCachedThreadPool();
    try (Ops ops = new Ops(mutant);
        BufferedReader commands = new BufferedReader(new InputStreamReader(System.in, UTF_8))) {
      for (String line = commands.readLine(); line != null; line = commands.readLine()) {
        JsonObject command = JsonParser.parseString(line).getAsJsonObject();
        threads.execute(() -> output.println(GSON.toJson(answer(ops, command))));
      }
    }
    threads.shutdown();
  }

  // Whatever the client throws is an answer.
  private static JsonObject answer(Ops ops, JsonObject command) {
    JsonObject answer = new JsonObject();
    answer.add("id", command.get("id"));
    try {
      answer.add("ok", ops.run(command));
    } catch (HoldfastException error) {
      answer.add("error", Answers.error(error));
    } catch (RuntimeException fault) {
      answer.addProperty("fault", fault.toString());
    }
    return answer;
  }
}
