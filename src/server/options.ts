/** Bounds of what the server takes on; every one has a default in {@link serverDefaults}. */
export interface ServerLimits {
    /** Requests that may wait for a sequence; one more is refused with 429. Unit: requests, from 0. */
    maxQueue: number;
    /** Time that a request may take, its wait included; then 504. Unit: milliseconds, from 1. */
    requestTimeoutMs: number;
    /** Size of a JSON body. Documents are streamed and have no bound. Unit: bytes, from 1. */
    maxBodyBytes: number;
    /**
     * Size of the JSON bodies of all open requests. Beyond it, requests are refused with 429. Unit: bytes, from 1.
     */
    maxBodiesBytes: number;
    /** Tokens to write where a request does not say; the API's own default is "no bound". Unit: tokens, from 1. */
    defaultMaxTokens: number;
    /** Silence after which a stream gets a comment line. Unit: milliseconds, from 1. */
    pingIntervalMs: number;
    /** Memories and their snapshots held at most. Unit: bytes, from 0. */
    maxMemoriesBytes: number;
    /** Stored responses, for `previous_response_id`; the oldest go first. Unit: responses, from 0. */
    maxResponses: number;
    /** Compressed size of stored responses and conversations; the oldest are removed first. Unit: bytes, from 0. */
    maxResponsesBytes: number;
    /** Time that a client may take for its headers. Unit: milliseconds, from 1. */
    headersTimeoutMs: number;
    /** Time that a JSON body may take to arrive. Unit: milliseconds, from 1. */
    bodyTimeoutMs: number;
    /**
     * Text of uploads that has arrived and is not read yet, all together; one upload may take a quarter. An upload that
     * is larger waits, and notices only later that its client has disconnected. Unit: bytes, from 1.
     */
    maxUploadsBytes: number;
    /**
     * Time in which an upload that the server waits for must send `uploadMinBytes`, or it is given up. Unit:
     * milliseconds, from 1.
     */
    uploadIdleMs: number;
    /** See `uploadIdleMs`. Unit: bytes, from 1. */
    uploadMinBytes: number;
    /**
     * Time without progress after which a client that does not read the rest of its answer is disconnected. Unit:
     * milliseconds, from 1.
     */
    flushIdleMs: number;
    /** Time that open requests have to finish when the server ends. Unit: milliseconds, from 0. */
    drainTimeoutMs: number;
}

export const serverDefaults: Readonly<ServerLimits> = {
    maxQueue: 256,
    requestTimeoutMs: 3_600_000,
    maxBodyBytes: 64 * 2 ** 20,
    maxBodiesBytes: 256 * 2 ** 20,
    maxUploadsBytes: 256 * 2 ** 20,
    defaultMaxTokens: 4096,
    pingIntervalMs: 15_000,
    maxMemoriesBytes: 2 ** 30,
    maxResponses: 1000,
    maxResponsesBytes: 32 * 2 ** 20,
    headersTimeoutMs: 10_000,
    bodyTimeoutMs: 60_000,
    uploadIdleMs: 60_000,
    // 4 bytes a second; live captions have about 13
    uploadMinBytes: 256,
    flushIdleMs: 30_000,
    drainTimeoutMs: 10_000
};

/** A longer time makes `setTimeout` fire at once. Unit: milliseconds. */
export const maxTimeoutMs = 2 ** 31 - 1;

/** Sequences that are decoded at once. */
export const defaultParallel = 4;

/** Of several models, those that are loaded at once. */
export const defaultMaxModels = 4;

/** Where `armt serve` listens by default. */
export const defaultHost = "127.0.0.1";
export const defaultPort = 8080;
