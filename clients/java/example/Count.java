import static java.nio.charset.StandardCharsets.UTF_8;

import dev.holdfast.client.CheckpointNotFoundException;
import dev.holdfast.client.Format;
import dev.holdfast.client.HoldfastClient;
import dev.holdfast.client.Payload;
import dev.holdfast.client.Workflow;
import dev.holdfast.client.WorkflowNotFoundException;

/**
 * Adds the squares of 1 to 200 and saves after each step. Killed at any time and started again, it
 * continues after the last step that was saved and prints the same sum.
 *
 * <p>Usage: Count TARGET WORKFLOW
 */
public final class Count {
  private static final Format FORMAT = new Format("count", 1);
  private static final int STEPS = 200;

  private Count() {}

  /**
   * Runs the workflow.
   *
   * @param arguments the target and the workflow
   */
  public static void main(String[] arguments) {
    try (HoldfastClient client = HoldfastClient.builder(arguments[0]).build()) {
      Workflow workflow = client.workflow("example", arguments[1]);
      workflow.acquireWriter();
      int done = 0;
      long sum = 0;
      try {
        String[] state = new String(workflow.resume(FORMAT).data(), UTF_8).split(" ");
        done = Integer.parseInt(state[0]);
        sum = Long.parseLong(state[1]);
        System.out.println("resumed after step " + done);
      } catch (WorkflowNotFoundException | CheckpointNotFoundException first) {
        System.out.println("began");
      }
      while (done < STEPS) {
        done++;
        sum += (long) done * done;
        workflow.save(Payload.of((done + " " + sum).getBytes(UTF_8)), FORMAT);
        System.out.println("saved step " + done);
      }
      System.out.println("sum " + sum);
    }
  }
}
