// Targets of clients: which ones gRPC accepts, and how their connections are protected.
import { type ChannelCredentials, type ChannelOptions, credentials } from "@grpc/grpc-js";
import { isIPv4, isIPv6 } from "node:net";

import * as arguments_ from "./arguments.js";
import { invalid, shown } from "./arguments.js";

const GRPCS = /^grpcs:\/\//i;
const SPECIAL = /^(dns|ipv4|ipv6|unix):/i;
const LOOPBACK =
  /^(localhost|[\w.-]+\.localhost|127\.\d+\.\d+\.\d+|0\.0\.0\.0|\[?(::1|::|::ffff:127\.\d+\.\d+\.\d+)\]?)\.?$/i;
const SCHEME = /^([a-zA-Z][a-zA-Z0-9+.-]*):(?=\/)/;

/** How a client uses TLS. An empty object trusts the authorities of Node.js and presents no certificate. */
export interface Tls {
  /** The authorities that the server's certificate must be of, in PEM. */
  readonly ca?: Uint8Array | string;
  /** The certificate that the client presents, followed by those of intermediate authorities, in PEM. */
  readonly cert?: Uint8Array | string;
  /** The private key of `cert`, without a password, in PEM. */
  readonly key?: Uint8Array | string;
  /** The name that the server's certificate must have. Default: the host of the target. */
  readonly serverName?: string;
}

/** Where and how to connect. */
export interface Destination {
  readonly target: string;
  readonly credentials: ChannelCredentials;
  readonly options: ChannelOptions;
  /** Whether everything that is sent stays on this machine or is encrypted. */
  readonly isPrivate: boolean;
}

/**
 * Check a target and its protection.
 *
 * @param given - host:port, grpcs://host:port, a target of gRPC, or several host:port with IP addresses.
 * @param tls - Whether and how to use TLS; undefined to let the target say.
 * @throws InvalidRequestError if they are not valid or contradict each other.
 */
export function destination(given: string | readonly string[], tls: Tls | boolean | undefined): Destination {
  const several = typeof given === "string" ? [given] : [...given];
  const named = several.map((each) => GRPCS.test(arguments_.text("target", each)));
  const isGrpcs = named.every(Boolean) && named.length > 0;
  if (tls === false && isGrpcs) {
    throw invalid("tls", "must not be false for a target that begins with grpcs://");
  }
  const target = joined(several.map((each) => checked(each.replace(GRPCS, ""), each)));
  const isLocal = addressesOf(target).every((address) => LOOPBACK.test(hostOf(address))) || /^unix:/i.test(target);
  // A server on this machine is never reached through a proxy, whatever the environment says.
  const options: ChannelOptions = { "grpc.enable_http_proxy": isLocal ? 0 : 1 };
  const settings = tls === true || tls === undefined ? {} : tls;
  if (settings === false || (tls === undefined && !isGrpcs)) {
    return { target, credentials: credentials.createInsecure(), options, isPrivate: isLocal };
  }
  if (addressesOf(target).length > 1 && settings.serverName === undefined) {
    throw invalid("tls.serverName", "must name the server, because the target has several addresses");
  }
  if (settings.serverName !== undefined) {
    options["grpc.ssl_target_name_override"] = arguments_.text("tls.serverName", settings.serverName);
  }
  return { target, credentials: secured(settings), options, isPrivate: true };
}

function secured({ ca, cert, key }: Tls): ChannelCredentials {
  for (const [given, missing, isMissing] of [
    ["cert", "key", cert !== undefined && key === undefined],
    ["key", "cert", key !== undefined && cert === undefined],
  ] as const) {
    if (isMissing) {
      throw invalid(`tls.${missing}`, `must be given, because tls.${given} is`);
    }
  }
  const [authorities, privateKey, chain] = [ca, key, cert].map((pem) => (pem === undefined ? null : Buffer.from(pem)));
  try {
    return credentials.createSsl(authorities, privateKey, chain);
  } catch (error) {
    throw invalid("tls", `must hold certificates and a key without a password in PEM: ${String(error)}`);
  }
}

function checked(target: string, given: string): string {
  const hidden = shown(given.replace(/\/\/[^/@]*@/, "//…@"));
  if (!target || /[\s\p{C}]/u.test(target)) {
    throw invalid("target", `must be host:port, not ${hidden}`);
  }
  if (SPECIAL.test(target)) {
    return target;
  }
  if (SCHEME.test(target)) {
    throw invalid(
      "target",
      `must be host:port, grpcs://host:port, or begin with dns:, ipv4:, ipv6: or unix:, not ${hidden}`,
    );
  }
  const port = /^.+:(\d{1,5})$/.exec(target)?.[1];
  if (port === undefined || Number(port) < 1 || Number(port) > 65535) {
    throw invalid("target", `must be host:port with a port of 1 to 65535, not ${hidden}`);
  }
  return target;
}

function joined(targets: readonly string[]): string {
  const [only] = targets;
  if (only === undefined) {
    throw invalid("target", "must name at least one server");
  }
  if (targets.length === 1) {
    return only;
  }
  const hosts = targets.map(hostOf);
  if (hosts.every((host) => isIPv4(host))) {
    return `ipv4:${targets.join(",")}`;
  }
  if (hosts.every((host) => isIPv6(host.replace(/^\[|\]$/g, "")))) {
    return `ipv6:${targets.join(",")}`;
  }
  throw invalid(
    "target",
    "must be IP addresses of one family if there are several: give one DNS name that has all of them",
  );
}

function addressesOf(target: string): string[] {
  return target.replace(SPECIAL, "").replace(/^.*\//s, "").split(",");
}

function hostOf(address: string): string {
  return address.replace(/:\d+$/, "");
}
