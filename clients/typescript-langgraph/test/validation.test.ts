// The validation suites of LangGraph, on a real server.
import { deltaChannelHistoryTests, validate } from "@langchain/langgraph-checkpoint-validation";
import { randomUUID } from "node:crypto";

import { Server } from "../../typescript/test/server.js";
import { HoldfastSaver } from "../src/index.js";

let server: Server;

const initializer = {
  checkpointerName: "@holdfast/langgraph",
  beforeAll: async () => {
    server = await Server.start();
  },
  beforeAllTimeout: 120_000,
  afterAll: async () => {
    await server.stop();
  },
  createCheckpointer: () => HoldfastSaver.fromTarget(server.target, { namespace: randomUUID() }),
  destroyCheckpointer: (saver: HoldfastSaver) => {
    saver.close();
  },
};

validate(initializer);

// The suite's hooks are those of this file: the server runs for these tests as well.
deltaChannelHistoryTests(initializer);
