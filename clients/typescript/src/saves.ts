// Saving a checkpoint: in one message if its payload is small, else as a stream that resumes where it broke.
import { requireSaved } from "./answers.js";
import type { Attempt, CallOptions, Caller } from "./calls.js";
import type { Request } from "./connection.js";
import type { SaveHeader } from "./generated/holdfast/v1/checkpoint.js";
import { toCheckpoint } from "./messages.js";
import { type Data, Outgoing, type Progress } from "./payload.js";
import type { Checkpoint } from "./values.js";

// Metadata by which a retried stream learns where to resume; see `checkpoint_service.proto`.
const RESUME_KEY = "holdfast-resume";
const RECEIVED_KEY = "holdfast-received";

/**
 * Save a checkpoint.
 *
 * @param header - Everything but the payload and the attempt.
 * @param data - The payload.
 */
export async function save(
  caller: Caller,
  header: SaveHeader,
  data: Data | Outgoing,
  options: CallOptions & { readonly progress?: Progress | undefined },
): Promise<Checkpoint> {
  const { signal, progress } = options;
  const budget = caller.budget(options);
  const outgoing = await prepared(caller, data, signal);
  const watch = caller.heads.watch(header);
  try {
    const parts = outgoing.fitsUnary ? await outgoing.inline() : undefined;
    const send = (attempt: Attempt) => {
      const sent = { ...header, attempt: attempt.message };
      return parts === undefined
        ? stream(caller, sent, outgoing, attempt, progress)
        : caller.connection.unary("save", { header: sent, parts }, attempt);
    };
    const method = parts === undefined ? "saveStream" : "save";
    const { requestId } = header;
    const response = await budget.spend((timeoutMs) =>
      caller.call(method, send, { timeoutMs, signal, requestId, watch }),
    );
    requireSaved(response.checkpoint, header, outgoing.sizes);
    return toCheckpoint(response.checkpoint, response.replayed);
  } finally {
    await outgoing[Symbol.asyncDispose]();
  }
}

/**
 * Prepare a payload. A stream may take its time; only the signal, or the end of the client, ends that.
 *
 * @param data - The payload.
 * @param signal - The caller's signal.
 */
export async function prepared(
  caller: Caller,
  data: Data | Outgoing,
  signal: AbortSignal | undefined,
): Promise<Outgoing> {
  const scope = caller.connection.scope(signal);
  try {
    return await Outgoing.of(data, scope);
  } finally {
    scope.end();
  }
}

function stream(
  caller: Caller,
  header: SaveHeader,
  outgoing: Outgoing,
  attempt: Attempt,
  progress: Progress | undefined,
): Promise<{ checkpoint: Parameters<typeof toCheckpoint>[0] | undefined; replayed: boolean }> {
  const resumes = attempt.number > 1;
  const metadata = resumes ? { ...attempt.metadata, [RESUME_KEY]: "1" } : attempt.metadata;
  return caller.connection.sendStream(
    async function* (initial): AsyncGenerator<Request<"saveStream">> {
      yield { message: { $case: "header", value: header } };
      const received = resumes ? (await initial).get(RECEIVED_KEY)[0] : undefined;
      yield* outgoing.messages(typeof received === "string" ? received : "", progress);
    },
    { ...attempt, metadata },
  );
}
