// A job of ten steps that saves its state after each one. It can be killed at any time: started again, it goes on where
// it was, and a second copy that still runs is fenced off. Arguments: the target and the id of the workflow.
import { CheckpointNotFoundError, Client, WorkflowNotFoundError, WriterFencedError } from "@holdfast/client";

const STEPS = 10;
const format = { name: "example-sum", version: 1 };

interface State {
  step: number;
  sum: number;
}

const [target = "127.0.0.1:7433", workflowId = "example"] = process.argv.slice(2);
await using client = new Client(target, { producer: { name: "example", version: "1" } });
const workflow = client.workflow("examples", workflowId);

let state: State = { step: 0, sum: 0 };
await workflow.acquireWriter();
try {
  const resumed = await workflow.resume({ format, fallback: true });
  state = JSON.parse(new TextDecoder().decode(resumed.data)) as State;
  console.log(`resumed after step ${state.step}`);
} catch (error) {
  if (!(error instanceof WorkflowNotFoundError || error instanceof CheckpointNotFoundError)) {
    throw error;
  }
  console.log("started");
}
try {
  while (state.step < STEPS) {
    state = { step: state.step + 1, sum: state.sum + (state.step + 1) ** 2 };
    await workflow.save(new TextEncoder().encode(JSON.stringify(state)), {
      format,
      labels: { step: String(state.step) },
    });
    console.log(`saved step ${state.step}`);
  }
  console.log(`sum ${state.sum}`);
} catch (error) {
  if (!(error instanceof WriterFencedError)) {
    throw error;
  }
  console.log("another process has taken over: stop");
}
