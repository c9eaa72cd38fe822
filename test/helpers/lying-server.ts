import { connect, createServer, type Socket } from "node:net";
import type { ExecutionContext } from "ava";
import { listenOnFreePort } from "./listen.js";

/** Commands of the RPC protocol that have an answer. */
export const answered = {
    ALLOC_BUFFER: 0,
    GET_ALIGNMENT: 1,
    GET_MAX_SIZE: 2,
    BUFFER_GET_BASE: 3,
    GET_TENSOR: 8,
    GET_DEVICE_MEMORY: 11,
    GET_ALLOC_SIZE: 13,
    HELLO: 14,
    DEVICE_COUNT: 15,
    ARMT_TIMES: 19
} as const;

export type Answered = keyof typeof answered;

const names = new Map<number, Answered>(Object.entries(answered).map(([name, code]) => [code, name as Answered]));

/**
 * What goes to the client instead of an answer, which begins with its length of 8 bytes. `"close"` ends the connection
 * after half of the answer, `"silence"` never answers.
 */
export type Lie = (answer: Buffer) => Buffer | "close" | "silence";

const usedPorts = new Set<number>();

/** A server that gives another one's answers, except for those that it lies about. */
export class LyingServer {
    endpoint = "";
    /** Lies about these commands. */
    lies: Partial<Record<Answered, Lie>> = {};
    /** Answers that were lies. */
    lied = 0;
    close = () => {};
    private readonly sockets = new Set<Socket>();

    static async open(t: ExecutionContext, server: string): Promise<LyingServer> {
        const liar = new LyingServer();
        const listener = createServer((client) => liar.join(client, server));
        liar.close = () => {
            for (const socket of liar.sockets) socket.destroy();
            listener.close();
        };
        t.teardown(liar.close);
        const port = await listenOnFreePort(listener);
        // libllama asks an endpoint for some numbers only once
        if (usedPorts.has(port)) {
            liar.close();
            return LyingServer.open(t, server);
        }
        usedPorts.add(port);
        liar.endpoint = `127.0.0.1:${port}`;
        return liar;
    }

    private join(client: Socket, server: string): void {
        const [host, port] = server.split(":");
        const upstream = connect(Number(port), host);
        for (const socket of [client, upstream]) {
            this.sockets.add(socket);
            socket.on("error", () => {});
            socket.on("close", () => {
                this.sockets.delete(socket);
                client.destroy();
                upstream.destroy();
            });
        }
        /** Commands whose answers are still to come. */
        const waiting: Answered[] = [];
        const requests = new Reader(9, (head) => Number(head.readBigUInt64LE(1)));
        client.on("data", (data) => {
            for (const request of requests.take(data)) {
                const name = names.get(request[0]!);
                if (name !== undefined) waiting.push(name);
                upstream.write(request);
            }
        });
        const answers = new Reader(8, (head) => Number(head.readBigUInt64LE(0)));
        upstream.on("data", (data) => {
            for (const answer of answers.take(data)) {
                const lie = this.lies[waiting.shift()!];
                const said = lie?.(answer) ?? answer;
                if (lie !== undefined) this.lied++;
                if (said === "close") client.end(answer.subarray(0, Math.ceil(answer.length / 2)));
                else if (said !== "silence") client.write(said);
            }
        });
    }
}

/** Divides a stream into messages. */
class Reader {
    private rest: Buffer = Buffer.alloc(0);

    constructor(
        private readonly headLength: number,
        private readonly bodyLength: (head: Buffer) => number
    ) {}

    *take(data: Buffer): Generator<Buffer> {
        this.rest = Buffer.concat([this.rest, data]);
        while (this.rest.length >= this.headLength) {
            const length = this.headLength + this.bodyLength(this.rest);
            if (this.rest.length < length) return;
            yield this.rest.subarray(0, length);
            this.rest = this.rest.subarray(length);
        }
    }
}
