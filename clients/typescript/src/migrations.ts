// Format migrations: functions, registered by format name, each from one version to the next.
import { MAX_VERSION, shown, small, text } from "./arguments.js";
import { ofReason } from "./reasons.js";
import type { AcceptedFormat, Format } from "./values.js";

/** The bytes of a payload by part name. */
export type Parts = ReadonlyMap<string, Uint8Array>;

/** Brings parts from one version of a format to the next one. */
export type Migration = (parts: Parts) => Parts | Promise<Parts>;

/**
 * A registry of migrations.
 *
 * @example
 * ```ts
 * const migrations = new Migrations().register("my-engine", 1, (parts) => addTotals(parts));
 * ```
 */
export class Migrations {
  readonly #steps = new Map<string, Migration>();

  /**
   * Register a function that migrates a format from a version to the next one.
   *
   * @param name - The name of the format.
   * @param fromVersion - The version that the function reads.
   * @param migration - The function.
   * @returns This registry.
   * @throws RangeError if the version has a migration already.
   */
  register(name: string, fromVersion: number, migration: Migration): this {
    const key = keyOf(text("name", name), small("fromVersion", fromVersion, 1, MAX_VERSION - 1));
    if (this.#steps.has(key)) {
      throw new RangeError(`format ${shown(name)} version ${fromVersion} has a migration already`);
    }
    this.#steps.set(key, migration);
    return this;
  }

  /** Return the versions that can be migrated to a format, including its own. */
  accepted({ name, version }: Format): AcceptedFormat {
    let minVersion = version;
    while (this.#steps.has(keyOf(name, minVersion - 1))) {
      minVersion -= 1;
    }
    return { name, minVersion, maxVersion: version };
  }

  /**
   * Migrate parts from the stored format to the wanted format.
   *
   * @throws FormatIncompatibleError if a migration is missing or failed, or returned something else than parts.
   */
  async migrate(parts: Parts, stored: Format, wanted: Format): Promise<Parts> {
    let current = parts;
    for (let { version } = stored; version < wanted.version; version += 1) {
      const step = this.#steps.get(keyOf(stored.name, version));
      const what = `migration of ${shown(stored.name)} from version ${version}`;
      if (step === undefined) {
        throw ofReason("FORMAT_INCOMPATIBLE", `no ${what}`);
      }
      let migrated: unknown;
      try {
        migrated = await step(current);
      } catch (error) {
        throw ofReason("FORMAT_INCOMPATIBLE", `the ${what} failed: ${String(error).slice(0, 300)}`, { cause: error });
      }
      if (!isParts(migrated)) {
        throw ofReason(
          "FORMAT_INCOMPATIBLE",
          `the ${what} returned ${shown(migrated)}, not parts: a Map of names to Uint8Array`,
        );
      }
      current = migrated;
    }
    return current;
  }
}

function keyOf(name: string, version: number): string {
  return `${version} ${name}`;
}

function isParts(value: unknown): value is Parts {
  return (
    value instanceof Map && [...value].every(([name, data]) => typeof name === "string" && data instanceof Uint8Array)
  );
}
