// Generates src/generated/ from proto/: the stubs of the API by ts-proto, and reasons.ts with the table of reasons and
// one error class for each.
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const proto = join(root, "../../proto");
const generated = join(root, "src/generated");

rmSync(generated, { recursive: true, force: true });
mkdirSync(generated, { recursive: true });

// errors.proto is left out: its table is read from reasons.json, and its option would bring all of descriptor.proto.
const template = JSON.stringify({
  version: "v2",
  plugins: [
    {
      local: join(root, "node_modules/.bin/protoc-gen-ts_proto"),
      out: generated,
      include_imports: true,
      include_wkt: true,
      opt: [
        "env=both",
        "esModuleInterop=true",
        "forceLong=bigint",
        "importSuffix=.js",
        "oneof=unions-value",
        "outputJsonMethods=false",
        "outputPartialMethods=true",
        "outputServices=generic-definitions",
        "removeEnumPrefix=true",
        "useDate=false",
        "useExactTypes=false",
        "useMapType=true",
        "useOptionals=none",
      ],
    },
  ],
});
const files = ["checkpoint.proto", "checkpoint_service.proto"].flatMap((name) => [
  "--path",
  join(proto, "holdfast/v1", name),
]);
execFileSync(join(root, "node_modules/.bin/buf"), ["generate", proto, "--template", template, ...files], {
  stdio: "inherit",
});

const { reasons } = JSON.parse(readFileSync(join(proto, "holdfast/v1/reasons.json"), "utf8"));
const className = (reason) =>
  reason.toLowerCase().replace(/(^|_)(.)/g, (_, __, letter) => letter.toUpperCase()) + "Error";
// A load also raises PAYLOAD_TOO_LARGE, for the caller's own limit.
const baseName = ({ reason, calls }) =>
  calls.includes("Load") || reason === "PAYLOAD_TOO_LARGE" ? "WorkflowCheckpointResumeError" : "HoldfastError";
const classes = reasons.map(
  (each) =>
    `/** ${each.meaning} ${each.advice} */\nexport class ${className(each.reason)} extends ${baseName(each)} {}\n`,
);
const rows = reasons.map(
  ({ reason, status, retryable, advice }) =>
    `  ${reason}: { code: status.${status}, retryable: ${retryable}, advice: ${JSON.stringify(advice)}, ErrorClass: ${className(reason)} },\n`,
);
writeFileSync(
  join(generated, "reasons.ts"),
  `// Generated from proto/holdfast/v1/reasons.json by scripts/generate.mjs.
import { status } from "@grpc/grpc-js";

import { HoldfastError, WorkflowCheckpointResumeError } from "../errors.js";

${classes.join("\n")}
/** The traits and the class of each reason that servers send. */
export const REASONS = {
${rows.join("")}} as const;
`,
);

const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
writeFileSync(
  join(generated, "version.ts"),
  `// Generated from package.json by scripts/generate.mjs.

/** The version of this package. */
export const VERSION = ${JSON.stringify(version)};
`,
);
