// Conversion of failed gRPC calls to errors of the client: by the server's details, or by the status alone.
import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import { type ServiceError, status } from "@grpc/grpc-js";

import { type ErrorDetails, type FieldViolation, type HoldfastError, handshakeFailed, unavailable } from "./errors.js";
import { Duration } from "./generated/google/protobuf/duration.js";
import { ofReason, ofServer } from "./reasons.js";

const DOMAIN = "holdfast.dev";
/** The key of the trailing metadata that hold the details of an error. */
export const DETAILS_KEY = "grpc-status-details-bin";
const PUSHBACK_KEY = "grpc-retry-pushback-ms";
const SHOWN_CHARACTERS = 600;
// Codes that are their own reason, from a Holdfast server as well as from a proxy.
const OWN_REASON = new Map([
  [status.UNAUTHENTICATED, "UNAUTHENTICATED"],
  [status.PERMISSION_DENIED, "PERMISSION_DENIED"],
  [status.UNIMPLEMENTED, "UNIMPLEMENTED"],
] as const);
// What Node.js says of a handshake that fails in the same way each time: not of one that breaks off.
const HANDSHAKE_PROBLEMS: readonly (readonly [RegExp, string])[] = [
  [
    /ERR_TLS_CERT_ALTNAME|does not match certificate/i,
    "its certificate is for another name: use a name in it as the host, or as tls.serverName",
  ],
  [
    /certificate has expired|CERT_HAS_EXPIRED/i,
    "its certificate, or that of an authority, has expired: it needs a new one",
  ],
  [
    /certificate is not yet valid|CERT_NOT_YET_VALID/i,
    "its certificate is not valid yet: check the clocks of both machines",
  ],
  [
    /self[- ]signed certificate|unable to (verify|get).*certificate/i,
    "its certificate is of an authority that this client does not trust (tls.ca)",
  ],
  [
    /wrong version number|packet length too long/i,
    "it does not use TLS: turn TLS on in the server, or off in this client",
  ],
  [/SSL routines|ERR_SSL|ERR_TLS/i, "the TLS handshake fails"],
];

/** The call that failed, for statuses that no Holdfast server made. */
export interface FailedCall {
  traceId: string;
  requestId: string;
}

/** Return the error of a failed call. */
export function fromServiceError(error: ServiceError, call: FailedCall): HoldfastError {
  const [raw] = error.metadata.get(DETAILS_KEY);
  const found = raw instanceof Uint8Array ? parsed(raw) : undefined;
  if (found?.reason === undefined) {
    return withoutDetails(error, call);
  }
  const [pushback] = error.metadata.get(PUSHBACK_KEY);
  return ofServer(found.reason, found.message, {
    code: error.code,
    traceId: found.traceId || call.traceId,
    requestId: found.requestId || call.requestId,
    metadata: Object.fromEntries(found.metadata),
    fieldViolations: found.violations,
    retryAfterMs: typeof pushback === "string" && /^[0-9]{1,9}$/.test(pushback) ? Number(pushback) : found.retryAfterMs,
  });
}

function withoutDetails(error: ServiceError, call: FailedCall): HoldfastError {
  const said = `gRPC: ${status[error.code]}: ${shown(error.details)}`;
  const details: Omit<ErrorDetails, "reason"> = { ...call, code: error.code };
  const own = OWN_REASON.get(error.code as never);
  if (own !== undefined) {
    return ofReason(own, `the target, or something before it, refused the call (${said})`, details);
  }
  if (error.code === status.DEADLINE_EXCEEDED) {
    return ofReason("DEADLINE_EXCEEDED", `the deadline passed before the server answered (${said})`, details);
  }
  if (error.code === status.UNAVAILABLE) {
    const problem = HANDSHAKE_PROBLEMS.find(([pattern]) => pattern.test(error.details))?.[1];
    if (problem !== undefined) {
      return handshakeFailed(`no connection to the server: ${problem} (${said})`, details);
    }
  }
  if (isBroken(error)) {
    return unavailable(`the server cannot be reached, or the connection broke (${said})`, details);
  }
  return ofReason("INTERNAL", `the call failed with an error that no Holdfast server made (${said})`, details);
}

/** Return whether a status without details says that the connection broke. */
export function isBroken({ code, details }: Pick<ServiceError, "code" | "details">): boolean {
  // A caller who cancels gets no status: a CANCELLED without details comes from a server that ends, or from a proxy.
  // grpc-js reports a stream that the server resets while it ends as INTERNAL.
  const isReset = code === status.INTERNAL && /RST_STREAM|ECONNRESET|EPIPE|session/i.test(details);
  return code === status.UNAVAILABLE || code === status.CANCELLED || isReset;
}

/** Return details that are not ours, on one line and cut. */
function shown(details: string): string {
  const text = (details || "no details").replace(/[\p{C}\p{Z}]/gu, " ");
  return text.length <= SHOWN_CHARACTERS ? text : `${text.slice(0, SHOWN_CHARACTERS)}…`;
}

interface Parsed {
  message: string;
  reason: string | undefined;
  metadata: Map<string, string>;
  violations: FieldViolation[];
  retryAfterMs: number | undefined;
  requestId: string;
  traceId: string;
}

/** Parse a google.rpc.Status with the details that a Holdfast server sends; undefined if it cannot be parsed. */
function parsed(raw: Uint8Array): Parsed | undefined {
  const found: Parsed = {
    message: "",
    reason: undefined,
    metadata: new Map(),
    violations: [],
    retryAfterMs: undefined,
    requestId: "",
    traceId: "",
  };
  try {
    for (const [number, value] of fields(raw)) {
      if (number === 2) {
        found.message = utf8(value);
      } else if (number === 3) {
        const any = new Map(fields(value));
        readDetail(utf8(any.get(1)).replace(/^.*\//s, ""), any.get(2) ?? new Uint8Array(), found);
      }
    }
  } catch {
    return undefined;
  }
  return found;
}

function readDetail(type: string, raw: Uint8Array, into: Parsed): void {
  const all = [...fields(raw)];
  const field = (number: number) => all.find(([each]) => each === number)?.[1];
  switch (type) {
    case "google.rpc.ErrorInfo":
      if (utf8(field(2)) === DOMAIN) {
        into.reason = utf8(field(1));
        for (const [number, entry] of all) {
          if (number === 3) {
            const pair = new Map(fields(entry));
            into.metadata.set(utf8(pair.get(1)), utf8(pair.get(2)));
          }
        }
      }
      break;
    case "google.rpc.RequestInfo":
      into.requestId = utf8(field(1));
      into.traceId = utf8(field(2));
      break;
    case "google.rpc.BadRequest":
      for (const [number, violation] of all) {
        if (number === 1) {
          const pair = new Map(fields(violation));
          into.violations.push({ field: utf8(pair.get(1)), description: utf8(pair.get(2)) });
        }
      }
      break;
    case "google.rpc.RetryInfo": {
      const delay = Duration.decode(field(1) ?? new Uint8Array());
      into.retryAfterMs = Math.max(0, Number(delay.seconds) * 1000 + delay.nanos / 1e6);
      break;
    }
  }
}

/** Iterate over the length-delimited fields of a message. All that is read here has this type. */
function* fields(raw: Uint8Array): Generator<[number, Uint8Array]> {
  const reader = new BinaryReader(raw);
  while (reader.pos < reader.len) {
    const [number, wireType] = reader.tag();
    if (wireType === WireType.LengthDelimited) {
      yield [number, reader.bytes()];
    } else {
      reader.skip(wireType, number);
    }
  }
}

function utf8(raw: Uint8Array | undefined): string {
  return raw === undefined ? "" : new TextDecoder().decode(raw);
}
