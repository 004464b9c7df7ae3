// The newest heads that a client has seen, by which it notices a log that was rolled back in the store. A log only grows,
// and a revision keeps its digest. Concurrent calls are answered in any order, so an answer is compared with what was seen
// when its call began.
import { invalid, shown } from "./arguments.js";
import { type HoldfastError, rolledBack } from "./errors.js";
import type { Head as HeadMessage } from "./generated/holdfast/v1/checkpoint.js";
import { wrongAnswer } from "./reasons.js";

const MOST_WORKFLOWS = 10_000;
const DIGEST_BYTES = 32;

/** The newest entry of a workflow's log. Its text, by `String(head)`, is short: keep it anywhere, and parse it again. */
export class Head {
  /**
   * @param revision - Its revision.
   * @param digest - The digest of the entry and of all entries before it, 32 bytes.
   */
  constructor(
    readonly revision: bigint,
    readonly digest: Uint8Array,
  ) {}

  /** Return the text of the head. */
  toString(): string {
    return `${this.revision}:${hex(this.digest)}`;
  }

  /**
   * Return the head with a text.
   *
   * @throws InvalidRequestError if it is not the text of a head.
   */
  static parse(text: string): Head {
    const found = /^([1-9][0-9]{0,18}):([0-9a-f]{64})$/.exec(text);
    if (found === null) {
      throw invalid("head", `must be REVISION:DIGEST with 64 hexadecimal digits, not ${shown(text)}`);
    }
    return new Head(BigInt(found[1] ?? 0), new Uint8Array(Buffer.from(found[2] ?? "", "hex")));
  }
}

/** The newest heads of the workflows that a client has used last. */
export class SeenHeads {
  readonly #heads = new Map<string, Head>();

  /** Return the newest head of a workflow; undefined if none is remembered. */
  get(namespace: string, workflowId: string): Head | undefined {
    return this.#heads.get(keyOf(namespace, workflowId));
  }

  /** Remember a head, unless a newer one of the workflow is remembered. */
  keep(namespace: string, workflowId: string, head: Head): void {
    const key = keyOf(namespace, workflowId);
    const known = this.#heads.get(key);
    this.#heads.delete(key);
    this.#heads.set(key, known === undefined || known.revision < head.revision ? head : known);
    if (this.#heads.size > MOST_WORKFLOWS) {
      const [oldest] = this.#heads.keys();
      this.#heads.delete(oldest ?? "");
    }
  }

  /** Forget the head of a workflow. */
  forget(namespace: string, workflowId: string): void {
    this.#heads.delete(keyOf(namespace, workflowId));
  }

  /** Begin a call: remember what was seen of the workflows of its request. */
  watch(request: object): Watch {
    return new Watch(this, request);
  }
}

interface Watched {
  readonly namespace: string;
  readonly workflowId: string;
  readonly before: Head | undefined;
}

/** What a client had seen of a workflow when a call began. */
export class Watch {
  readonly #own: Watched | undefined;
  readonly #target: Watched | undefined;

  constructor(
    private readonly seen: SeenHeads,
    request: { namespace?: string; workflowId?: string; targetWorkflowId?: string },
  ) {
    this.#own = this.#watched(request.namespace, request.workflowId);
    this.#target = this.#watched(request.namespace, request.targetWorkflowId);
  }

  /**
   * Check an answer, and remember its head.
   *
   * @throws RolledBackError if it names an older head, or another one.
   */
  require(answer: unknown): void {
    if (typeof answer !== "object" || answer === null) {
      return;
    }
    const { head, targetHead, replayed } = answer as {
      head?: HeadMessage;
      targetHead?: HeadMessage;
      replayed?: boolean;
    };
    this.#require(this.#own, head, replayed ?? false);
    this.#require(this.#target, targetHead, false);
  }

  /**
   * Check the head that an error names.
   *
   * @throws RolledBackError if it is older, or another one. The error is its cause.
   */
  requireOf(error: HoldfastError): void {
    const { head_revision: revision = "", head_digest: digest } = error.metadata;
    // The errors of a copy may be about either of its workflows.
    if (this.#own === undefined || this.#target !== undefined || error.reason === "ROLLED_BACK") {
      return;
    }
    if (digest !== undefined && /^[0-9]{1,19}$/.test(revision) && /^(?:[0-9a-f]{64})?$/.test(digest)) {
      this.#check(this.#own, new Head(BigInt(revision), Buffer.from(digest, "hex")), false, error);
    }
  }

  #watched(namespace: string | undefined, workflowId: string | undefined): Watched | undefined {
    return namespace && workflowId
      ? { namespace, workflowId, before: this.seen.get(namespace, workflowId) }
      : undefined;
  }

  #require(watched: Watched | undefined, head: HeadMessage | undefined, isReplayed: boolean): void {
    if (watched === undefined || head === undefined) {
      return;
    }
    if (head.revision < 0n || (head.digest.length && head.digest.length !== DIGEST_BYTES)) {
      throw wrongAnswer(`a head with revision ${head.revision} and ${head.digest.length} bytes of digest`);
    }
    this.#check(watched, new Head(head.revision, head.digest), isReplayed);
  }

  #check({ namespace, workflowId, before }: Watched, head: Head, isReplayed: boolean, cause?: HoldfastError): void {
    const problem = before && problemOf(head, before, isReplayed);
    if (problem) {
      const what = `the log of workflow ${shown(workflowId)} in namespace ${shown(namespace)} was rolled back`;
      throw rolledBack(`${what}: ${problem}`, {
        metadata: {
          namespace,
          workflow_id: workflowId,
          seen_revision: String(before.revision),
          seen_digest: hex(before.digest),
          head_revision: String(head.revision),
          head_digest: hex(head.digest),
        },
        ...(cause === undefined ? {} : { cause, traceId: cause.traceId, requestId: cause.requestId }),
      });
    }
    if (head.digest.length) {
      this.seen.keep(namespace, workflowId, head);
    }
  }
}

/** Return how a head contradicts one that was seen before; "" if it does not. */
function problemOf(head: Head, before: Head, isReplayed: boolean): string {
  if (head.revision < before.revision) {
    // A replayed answer names the entry of the earlier attempt, which may be older than the head.
    return isReplayed ? "" : `its head is revision ${head.revision}, and was revision ${before.revision}`;
  }
  const isOther = head.revision === before.revision && head.digest.length && hex(head.digest) !== hex(before.digest);
  return isOther ? `its head, revision ${head.revision}, is another entry than before` : "";
}

function keyOf(namespace: string, workflowId: string): string {
  return JSON.stringify([namespace, workflowId]);
}

function hex(digest: Uint8Array): string {
  return Buffer.from(digest).toString("hex");
}
