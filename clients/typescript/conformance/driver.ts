// The driver of the conformance kit: reads commands from standard input, runs them on the client, and writes their answers
// to standard output. The protocol is in conformance/README.md of the project.
import {
  type AcceptedFormat,
  Client,
  type ClientOptions,
  type Format,
  type LoadOptions,
  Migrations,
  type RetryPolicy,
  type Tls,
  type Workflow,
} from "@holdfast/client";
import { readFile } from "node:fs/promises";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";

import { MUTANTS, type Opening, interceptors, options } from "./mutants.js";
import {
  type Content,
  checkpoint,
  decoded,
  errorOf,
  loaded,
  loadedWithoutData,
  records,
  validation,
} from "./values.js";

type Given = Record<string, unknown>;

const mutant = parseArgs({ options: { mutant: { type: "string", default: "" } } }).values.mutant;
if (mutant && !MUTANTS.includes(mutant)) {
  throw new Error(`unknown mutant ${mutant}: expected one of ${MUTANTS.join(", ")}`);
}

const clients = new Map<string, Client>();
const handles = new Map<string, Workflow>();

/** The conversions of arguments whose values differ from those of the client. */
const CONVERSIONS: Readonly<Record<string, (value: never) => unknown>> = {
  expectedRevision: (value: string) => BigInt(value),
  epoch: (value: string) => BigInt(value),
  maxBytes: (value: string | number) => BigInt(value),
  acceptedFormats: (value: { name: string; min_version: number; max_version: number }[]): AcceptedFormat[] =>
    value.map((each) => ({ name: each.name, minVersion: each.min_version, maxVersion: each.max_version })),
};

/** Where an op is called, and the options of the call. */
interface Bound<T> {
  owner: { client: Client; names: [string, string] } | Workflow;
  options: T;
}

function bound<T>(given: Given): Bound<T> {
  const { client, handle, namespace, workflow_id, ...rest } = given;
  const converted = Object.entries(rest).map(([name, value]) => {
    const camel = name.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase());
    return [camel, CONVERSIONS[camel]?.(value as never) ?? value] as const;
  });
  const owner =
    handle === undefined
      ? { client: clientOf(client), names: [namespace, workflow_id] as [string, string] }
      : handleOf(handle);
  return { owner, options: Object.fromEntries(converted) as T };
}

function clientOf(name: unknown): Client {
  const found = clients.get(String(name));
  if (found === undefined) {
    throw new Error(`no client ${String(name)}`);
  }
  return found;
}

function handleOf(name: unknown): Workflow {
  const found = handles.get(String(name));
  if (found === undefined) {
    throw new Error(`no handle ${String(name)}`);
  }
  return found;
}

const OPS: Readonly<Record<string, (given: Given) => Promise<object> | object>> = {
  hello: () => ({
    client: "TypeScript",
    version: "",
    features: ["files", "pipeline", "rolled_back"],
    mutants: MUTANTS,
  }),
  async open(given) {
    clients.set(String(given["client"]), await opened(options(mutant, given as Opening)));
    return {};
  },
  close({ client }) {
    clientOf(client).close();
    clients.delete(String(client));
    return {};
  },
  workflow({ client, namespace, workflow_id, handle }) {
    handles.set(String(handle), clientOf(client).workflow(namespace as string, workflow_id as string));
    return {};
  },
  state({ handle }) {
    const { revision, epoch, checkpointId } = handleOf(handle);
    return { revision: revision?.toString() ?? null, epoch: epoch?.toString() ?? null, checkpoint_id: checkpointId };
  },
  async save({ parts, ...given }) {
    const data = new Map((parts as { name: string; data: Content }[]).map((part) => [part.name, decoded(part.data)]));
    const { owner, options } = bound<{ format: Format }>(given);
    return checkpoint(
      "names" in owner ? await owner.client.save(...owner.names, data, options) : await owner.save(data, options),
    );
  },
  async load(given) {
    const { owner, options } = bound<LoadOptions>(given);
    return loaded("names" in owner ? await owner.client.load(...owner.names, options) : await owner.load(options));
  },
  async load_to({ file, ...given }) {
    const { owner, options } = bound<LoadOptions>(given);
    const path = file as string;
    return loadedWithoutData(
      "names" in owner ? await owner.client.loadTo(...owner.names, path, options) : await owner.loadTo(path, options),
    );
  },
  async resume({ migrations, ...given }) {
    const { owner, options } = bound<{ format: Format }>(given);
    const steps = (migrations ?? []) as { from_version: number; append?: string; fail?: string }[];
    const known = { ...options, migrations: migrationsOf(options.format.name, steps) };
    return loaded("names" in owner ? await owner.client.resume(...owner.names, known) : await owner.resume(known));
  },
  async list({ client, namespace, limit, ...given }) {
    const { workflow_id: workflowId, ...rest } = given;
    const { options } = bound<object>({ client, ...rest });
    const found: object[] = [];
    for await (const each of clientOf(client).list(namespace as string, {
      ...options,
      workflowId: workflowId as string,
    })) {
      found.push(checkpoint(each));
      if (found.length === limit) {
        break;
      }
    }
    return { checkpoints: found };
  },
  async validate({ client, namespace, workflow_id, ...given }) {
    const { options } = bound<object>({ client, ...given });
    return validation(await clientOf(client).validate(namespace as string, workflow_id as string, options));
  },
  async delete({ client, namespace, workflow_id, checkpoint_id, ...given }) {
    const { options } = bound<object>({ client, ...given });
    const names = [namespace, workflow_id, checkpoint_id] as [string, string, string];
    return { revision: String(await clientOf(client).delete(...names, options)) };
  },
  async delete_workflow({ client, namespace, workflow_id, ...given }) {
    const { options } = bound<object>({ client, ...given });
    const revision = await clientOf(client).deleteWorkflow(namespace as string, workflow_id as string, options);
    return { revision: String(revision) };
  },
  async acquire_writer(given) {
    const { owner, options } = bound<object>(given);
    const { epoch, revision } =
      "names" in owner ? await owner.client.acquireWriter(...owner.names, options) : await owner.acquireWriter(options);
    return { epoch: String(epoch), revision: String(revision) };
  },
  async attach({ records: sent, checkpoint_id, ...given }) {
    const { owner, options } = bound<object>(given);
    const converted = (sent as { key: string; data: Content; replace?: boolean | null }[]).map((record) => ({
      key: record.key,
      data: decoded(record.data),
      replace: record.replace ?? false,
    }));
    const checkpointId = checkpoint_id as string;
    await ("names" in owner
      ? owner.client.attach(...owner.names, checkpointId, converted, options)
      : owner.attach(converted, { ...options, checkpointId }));
    return {};
  },
  async records({ checkpoint_id, ...given }) {
    const { owner, options } = bound<object>(given);
    const checkpointId = checkpoint_id as string;
    const found =
      "names" in owner
        ? await owner.client.records(...owner.names, checkpointId, options)
        : await owner.records({ ...options, checkpointId });
    return { records: records(found) };
  },
};

async function opened(given: Opening): Promise<Client> {
  const { targets, timeout_ms: timeoutMs, retry, tls, token, tokens, insecure, producer } = given;
  const queue = [...((tokens as string[] | undefined) ?? [])];
  const known: ClientOptions = {
    timeoutMs,
    retry: retry && policyOf(retry),
    tls: tls && (await tlsOf(tls)),
    token: queue.length
      ? () => (queue.length > 1 ? (queue.shift() as string) : (queue[0] as string))
      : (token as string),
    insecure: insecure as boolean,
    producer: producer as { name: string },
    interceptors: interceptors(mutant, timeoutMs),
  };
  return new Client(targets.length === 1 ? (targets[0] as string) : targets, known);
}

function policyOf(given: Record<string, number>): RetryPolicy {
  const names: Readonly<Record<string, keyof RetryPolicy>> = {
    burst: "burstRetries",
    per_second: "retriesPerSecond",
    initial_backoff_ms: "initialBackoffMs",
    max_backoff_ms: "maxBackoffMs",
    attempt_timeout_ms: "attemptTimeoutMs",
  };
  return Object.fromEntries(Object.entries(given).map(([name, value]) => [names[name] ?? name, value]));
}

async function tlsOf({ ca_file, cert_file, key_file, server_name }: Record<string, string | null>): Promise<Tls> {
  return {
    ...(ca_file ? { ca: await readFile(ca_file) } : {}),
    ...(cert_file ? { cert: await readFile(cert_file) } : {}),
    ...(key_file ? { key: await readFile(key_file) } : {}),
    ...(server_name ? { serverName: server_name } : {}),
  };
}

function migrationsOf(name: string, steps: { from_version: number; append?: string; fail?: string }[]): Migrations {
  const known = new Migrations();
  for (const { from_version: version, append = "", fail } of steps) {
    known.register(name, version, (parts) => {
      if (fail) {
        throw new Error(fail);
      }
      return new Map([...parts].map(([part, data]) => [part, Buffer.concat([data, Buffer.from(append)])]));
    });
  }
  return known;
}

async function answer(line: string): Promise<void> {
  const { id, op, ...given } = JSON.parse(line) as Given;
  const known = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== null));
  let outcome: object;
  try {
    const run = OPS[String(op)];
    if (run === undefined) {
      throw new Error(`unknown op ${String(op)}`);
    }
    outcome = { ok: await run(known) };
  } catch (error) {
    outcome = errorOf(error);
  }
  process.stdout.write(`${JSON.stringify({ id, ...outcome })}\n`);
}

const running = new Set<Promise<void>>();
for await (const line of createInterface({ input: process.stdin })) {
  const one = answer(line);
  running.add(one);
  void one.finally(() => running.delete(one));
}
for (const client of clients.values()) {
  client.close();
}
await Promise.allSettled(running);
