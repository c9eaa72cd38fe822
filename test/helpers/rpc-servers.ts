import { spawn } from "node:child_process";
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { setTimeout } from "node:timers/promises";
import type { ExecutionContext } from "ava";
import { armtScript } from "./armt-command.js";
import { listenOnFreePort } from "./listen.js";

/** Starts `armt rpc-server` on this machine's CPU as often as asked. */
export async function startRpcServers(
    count: number
): Promise<{ endpoints: string[]; pids: number[]; stop: () => Promise<void> }> {
    const servers = await Promise.all(Array.from({ length: count }, startRpcServer));
    return {
        endpoints: servers.map(({ endpoint }) => endpoint),
        pids: servers.map(({ pid }) => pid),
        stop: async () => {
            for (const { stop } of servers) await stop();
        }
    };
}

async function startRpcServer(): Promise<{ endpoint: string; pid: number; stop: () => Promise<void> }> {
    const port = await freePort();
    const child = spawn(process.execPath, [armtScript, "rpc-server", "--port", String(port), "--threads", "1"], {
        stdio: ["ignore", "pipe", "inherit"]
    });
    const stop = async () => {
        if (child.exitCode !== null) return;
        child.kill("SIGKILL");
        await once(child, "exit");
    };
    let output = "";
    for await (const chunk of child.stdout) {
        output += String(chunk);
        if (output.includes("listening on")) break;
    }
    const endpoint = `127.0.0.1:${port}`;
    // the line comes just before it listens
    while (child.exitCode === null && !(await accepts(port))) await setTimeout(50);
    return { endpoint, pid: child.pid!, stop };
}

/** Whether something listens. The server takes the connection for a client that says nothing. */
async function accepts(port: number): Promise<boolean> {
    const socket = connect(port, "127.0.0.1");
    try {
        await once(socket, "connect");
        return true;
    } catch {
        return false;
    } finally {
        socket.destroy();
    }
}

async function freePort(): Promise<number> {
    const server = createServer();
    const port = await listenOnFreePort(server);
    server.close();
    await once(server, "close");
    return port;
}

/** A network between a client and a server, with faults. */
export class FaultyNetwork {
    /** Time that each packet takes. Unit: milliseconds. */
    delay = 0;
    /** Bytes to the server after which all connections are cut. */
    cutAfter = Number.POSITIVE_INFINITY;
    /** Bytes that went to the server. */
    bytes = 0;
    endpoint = "";
    private readonly sockets = new Set<Socket>();

    /** Leads from a new port to the server. */
    static async open(t: ExecutionContext, server: string): Promise<FaultyNetwork> {
        const network = new FaultyNetwork();
        const listener = createServer((client) => network.join(client, server));
        network.endpoint = `127.0.0.1:${await listenOnFreePort(listener)}`;
        t.teardown(() => {
            network.cut();
            listener.close();
        });
        return network;
    }

    cut(): void {
        for (const socket of this.sockets) socket.destroy();
    }

    private join(client: Socket, server: string): void {
        const [host, port] = server.split(":");
        const upstream = connect(Number(port), host);
        for (const [from, to] of [
            [client, upstream],
            [upstream, client]
        ] as const) {
            this.sockets.add(from);
            from.setNoDelay(true);
            from.on("data", (data: Buffer) => {
                if (from === client) this.bytes += data.length;
                if (this.bytes > this.cutAfter) this.cut();
                else if (this.delay === 0) to.write(data);
                else globalThis.setTimeout(() => to.write(data), this.delay);
            });
            from.on("error", () => {});
            from.on("close", () => {
                this.sockets.delete(from);
                to.destroy();
            });
        }
    }
}
