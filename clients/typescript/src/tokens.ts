// The token by which a client's calls are known to its server. A token is in no error and no span.
import * as arguments_ from "./arguments.js";
import { ofReason } from "./reasons.js";
import type { Scope } from "./scope.js";

/** The token that shows the server who calls, or a function that returns one. */
export type Token = string | (() => string | Promise<string>);

// https://www.rfc-editor.org/rfc/rfc6750#section-2.1, in at most half of the metadata that gRPC accepts.
const TOKEN = /^[A-Za-z0-9._~+/-]{1,16384}=*$/;

/** The token of one client: given for good, or taken from a function and kept until a server refuses it. */
export class KeptToken {
  readonly #source: (() => string | Promise<string>) | undefined;
  #header = "";
  #making: Promise<string> | undefined;

  constructor(token: Token) {
    if (typeof token === "function") {
      this.#source = token;
    } else {
      this.#header = headerOf(token);
    }
  }

  /**
   * Return the value of the header `authorization`. Calls the function if there is no token.
   *
   * @throws UnauthenticatedError if the function fails, DeadlineExceededError if it takes longer than the time left.
   */
  async current(scope: Scope, leftMs: number): Promise<string> {
    if (this.#header) {
      return this.#header;
    }
    // Calls that wait for a token share it.
    this.#making ??= this.#make().finally(() => {
      this.#making = undefined;
    });
    return scope.within(this.#making, leftMs, () =>
      ofReason("DEADLINE_EXCEEDED", `token: the function that returns it took longer than ${Math.round(leftMs)} ms`),
    );
  }

  /** Forget the token that a call has sent, because it was refused. Returns whether there may be another one. */
  refuse(header: string): boolean {
    if (this.#source === undefined) {
      return false;
    }
    if (this.#header === header) {
      this.#header = "";
    }
    return true;
  }

  async #make(): Promise<string> {
    let made: unknown;
    try {
      made = await this.#source?.();
    } catch (error) {
      // The text of the cause might contain a secret.
      const name = error instanceof Error ? error.name : typeof error;
      throw ofReason("UNAUTHENTICATED", `token: the function that returns it threw ${name}`);
    }
    this.#header = headerOf(made);
    return this.#header;
  }
}

function headerOf(token: unknown): string {
  if (typeof token !== "string") {
    throw new TypeError(`token must be a string or a function that returns one, not ${typeof token}`);
  }
  if (!TOKEN.test(token)) {
    const problem = `must be 1 to 16384 letters, digits and ._~+/-; what was given has ${token.length} characters`;
    throw arguments_.invalid("token", problem);
  }
  return `Bearer ${token}`;
}
