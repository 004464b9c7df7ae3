// A graph of LangGraph.js that can be killed at any time: started again, it goes on after its last finished step.
// Arguments: the target and the id of the thread.
import { HoldfastSaver } from "@holdfast/langgraph";
import { Annotation, END, START, StateGraph } from "@langchain/langgraph";

const STEPS = 6;
const [target = "127.0.0.1:7433", threadId = "example"] = process.argv.slice(2);

const State = Annotation.Root({
  squares: Annotation<number[]>({ reducer: (before, more) => [...before, ...more], default: () => [] }),
});

const saver = HoldfastSaver.fromTarget(target, { namespace: "examples" });
const graph = new StateGraph(State)
  .addNode("square", ({ squares }) => {
    console.log(`step ${squares.length + 1}`);
    return { squares: [(squares.length + 1) ** 2] };
  })
  .addEdge(START, "square")
  .addConditionalEdges("square", ({ squares }) => (squares.length < STEPS ? "square" : END))
  .compile({ checkpointer: saver });

const config = { configurable: { thread_id: threadId }, durability: "sync" as const };
const before = await saver.getTuple(config);
const state = await graph.invoke(before ? null : { squares: [] }, config);
console.log(`squares ${state.squares.join(" ")}`);
saver.close();
