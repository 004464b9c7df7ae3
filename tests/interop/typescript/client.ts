// Holdfast through plain gRPC. Usage: node client.js TARGET PROTO_FOLDER. Prints what it saw as one JSON object.
// It uses TLS if HOLDFAST_TLS_CA_FILE names the server's authority, with the certificate of HOLDFAST_TLS_CERT_FILE.
import * as grpc from "@grpc/grpc-js";
import * as loader from "@grpc/proto-loader";
import { Crc32c } from "@aws-crypto/crc32c";
import { createHash, randomBytes, randomUUID } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";
import protobuf from "protobufjs";

const [target, protoFolder] = process.argv.slice(2);
const googleFolder = path.dirname(require.resolve("google-proto-files/package.json"));
const CHUNK_BYTES = 1 << 20;
const LARGE_BYTES = 64 << 20;

const definition = loader.loadSync("holdfast/v1/checkpoint_service.proto", {
  includeDirs: [protoFolder, googleFolder],
  keepCase: true,
  longs: Number,
  enums: String,
  defaults: true,
});
const holdfast = (grpc.loadPackageDefinition(definition) as any).holdfast.v1;
const client = new holdfast.CheckpointService(target, credentials(), {
  "grpc.max_receive_message_length": 8 << 20,
});

function credentials(): grpc.ChannelCredentials {
  const { HOLDFAST_TLS_CA_FILE: ca, HOLDFAST_TLS_CERT_FILE: certificate, HOLDFAST_TLS_KEY_FILE: key } = process.env;
  if (!ca) {
    return grpc.credentials.createInsecure();
  }
  return certificate && key
    ? grpc.credentials.createSsl(fs.readFileSync(ca), fs.readFileSync(key), fs.readFileSync(certificate))
    : grpc.credentials.createSsl(fs.readFileSync(ca));
}

function call(method: string, request: object): Promise<any> {
  return new Promise((resolve, reject) =>
    client[method](request, { deadline: Date.now() + 30_000 }, (error: grpc.ServiceError | null, response: any) =>
      error ? reject(error) : resolve(response),
    ),
  );
}

function header(workflow: string): object {
  return {
    namespace: "typescript",
    workflow_id: workflow,
    request_id: randomUUID(),
    format: { name: "state", version: 1 },
    labels: { language: "typescript" },
  };
}

function crc32c(data: Uint8Array): number {
  return new Crc32c().update(data).digest();
}

function saveStream(workflow: string, data: Buffer): Promise<any> {
  return new Promise(async (resolve, reject) => {
    const stream = client.SaveStream((error: grpc.ServiceError | null, response: any) =>
      error ? reject(error) : resolve(response),
    );
    const send = (message: object) =>
      new Promise<void>((sent) => (stream.write(message) ? sent() : stream.once("drain", sent)));
    await send({ header: header(workflow) });
    for (let offset = 0; offset < data.length; offset += CHUNK_BYTES) {
      const piece = data.subarray(offset, offset + CHUNK_BYTES);
      await send({ chunk: { part: "", offset, data: piece, crc32c: crc32c(piece) } });
    }
    await send({ finish: { size_bytes: data.length } });
    stream.end();
  });
}

async function loadStream(workflow: string): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let size = 0;
  for await (const message of client.LoadStream({ namespace: "typescript", workflow_id: workflow })) {
    if (message.chunk) {
      if (message.chunk.offset !== size || crc32c(message.chunk.data) !== message.chunk.crc32c) {
        throw new Error(`damaged chunk at ${size}`);
      }
      pieces.push(message.chunk.data);
      size += message.chunk.data.length;
    }
  }
  return Buffer.concat(pieces);
}

function details(error: grpc.ServiceError): object {
  const root = new protobuf.Root();
  root.resolvePath = (_, file) => path.join(googleFolder, file);
  root.loadSync(["google/rpc/status.proto", "google/rpc/error_details.proto"]);
  const status: any = root.lookupType("google.rpc.Status").decode(error.metadata.get("grpc-status-details-bin")[0] as Buffer);
  const found: Record<string, any> = {};
  for (const detail of status.details) {
    const name = detail.type_url.split("/").pop();
    found[name] = root.lookupType(name).toObject(root.lookupType(name).decode(detail.value));
  }
  return found;
}

async function main(): Promise<void> {
  const seen: Record<string, unknown> = {};
  const saved = await call("Save", { header: header("small"), parts: [{ name: "", data: Buffer.from("state") }] });
  seen.revision = saved.checkpoint.revision;
  const loaded = await call("Load", { namespace: "typescript", workflow_id: "small" });
  seen.loaded = loaded.parts[0].data.toString();
  const listed = await call("List", { namespace: "typescript", workflow_id: "small" });
  seen.listed = listed.checkpoints.map((each: any) => [each.checkpoint_id, each.labels]);
  seen.resumable = (await call("Validate", { namespace: "typescript", workflow_id: "small" })).resumable;

  const large = randomBytes(LARGE_BYTES);
  const streamed = await saveStream("large", large);
  seen.streamedBytes = streamed.checkpoint.size_bytes;
  seen.sha256Agrees = streamed.checkpoint.parts[0].sha256.equals(createHash("sha256").update(large).digest());
  seen.cameBack = (await loadStream("large")).equals(large);

  try {
    await call("Load", { namespace: "typescript", workflow_id: "nobody" });
  } catch (error) {
    seen.code = (error as grpc.ServiceError).code;
    seen.details = details(error as grpc.ServiceError);
  }
  console.log(JSON.stringify(seen));
  client.close();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
