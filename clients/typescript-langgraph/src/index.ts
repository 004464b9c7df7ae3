/**
 * A checkpoint saver of LangGraph.js that stores checkpoints with a Holdfast server.
 *
 * @packageDocumentation
 */
export { HoldfastSaver, type HoldfastSaverOptions } from "./saver.js";
