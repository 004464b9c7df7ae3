// A real server for tests, and a proxy before it that can break connections.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { type AddressInfo, type Socket, connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** The command that starts a server, split by blanks. */
const COMMAND = (process.env["HOLDFAST_SERVER"] ?? "../../.venv/bin/holdfast-server").split(" ");

/** A server on a folder of its own. */
export class Server {
  #process: ChildProcess | undefined;
  #folder = "";
  target = "";

  static async start(): Promise<Server> {
    const server = new Server();
    server.#folder = await mkdtemp(join(tmpdir(), "holdfast-test-"));
    server.target = `127.0.0.1:${await freePort()}`;
    await server.restart();
    return server;
  }

  /** Start it, again on the same port and folder. */
  async restart(): Promise<void> {
    const [program, ...rest] = COMMAND as [string, ...string[]];
    const store = `file://${join(this.#folder, "store")}`;
    const child = spawn(program, [...rest, "serve", "--listen", this.target, "--store", store], {
      stdio: ["ignore", "ignore", "pipe"],
    });
    this.#process = child;
    let said = "";
    child.stderr.on("data", (data: Buffer) => (said += data.toString()));
    const ended = once(child, "exit").then(() => {
      throw new Error(`the server ended: ${said}`);
    });
    ended.catch(() => undefined);
    await Promise.race([this.#accepts(), ended]);
  }

  /** End it at once, as a crash does. */
  async kill(): Promise<void> {
    const child = this.#process;
    if (child?.exitCode === null && child.signalCode === null) {
      child.kill("SIGKILL");
      await once(child, "exit");
    }
  }

  async stop(): Promise<void> {
    await this.kill();
    await rm(this.#folder, { recursive: true, force: true });
  }

  async #accepts(): Promise<void> {
    const [host, port] = this.target.split(":");
    for (;;) {
      const socket = connect(Number(port), host);
      try {
        await once(socket, "connect");
        return;
      } catch {
        await new Promise((resolve) => setTimeout(resolve, 50));
      } finally {
        socket.destroy();
      }
    }
  }
}

/** A proxy that breaks all connections once a number of bytes has passed in one direction. */
export class Cutter {
  readonly #sockets = new Set<Socket>();
  readonly #server = createServer((near) => {
    const far = connect(Number(this.target.split(":")[1]), "127.0.0.1");
    for (const [from, to, direction] of [
      [near, far, "sent"],
      [far, near, "received"],
    ] as const) {
      this.#sockets.add(from);
      from.on("error", () => undefined);
      from.on("close", () => to.destroy());
      from.on("data", (data: Buffer) => {
        to.write(data);
        this.passed[direction] += data.length;
        const cut = this.cuts.at(0);
        if (cut?.direction === direction && this.passed[direction] >= cut.bytes) {
          this.cuts.shift();
          this.passed = { sent: 0, received: 0 };
          this.cutAll();
        }
      });
    }
  });
  address = "";
  passed = { sent: 0, received: 0 };

  constructor(
    private readonly target: string,
    /** When to break connections, one after the other. */
    readonly cuts: { direction: "sent" | "received"; bytes: number }[],
  ) {}

  async start(): Promise<this> {
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
    this.address = `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
    return this;
  }

  cutAll(): void {
    for (const socket of this.#sockets) {
      socket.destroy();
    }
    this.#sockets.clear();
  }

  stop(): void {
    this.#server.close();
    this.cutAll();
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  return port;
}
