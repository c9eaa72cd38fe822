import { draining } from "./errors.js";
import type { Listening } from "./listen.js";
import { maxTimeoutMs } from "./options.js";
import type { Server } from "./Server.js";

/** Time that aborted requests have to end. Unit: milliseconds. */
const settleMs = 2000;

/** Time that clients have to read the last answers. Unit: milliseconds. */
const flushMs = 2000;

/**
 * Ends a server. It accepts no more requests, and open ones have `drainTimeoutMs` to finish. A few seconds later all
 * connections are closed, whatever the clients do.
 */
export async function shutDown({ models, ending, limits }: Server, listening: Listening): Promise<void> {
    const closed = listening.close();
    const drained = models.drain();
    await atMost(drained, limits.drainTimeoutMs);
    // this also ends requests that only watch progress
    ending.abort(draining());
    await atMost(drained, settleMs);
    listening.http.closeIdleConnections();
    await atMost(closed, flushMs);
    listening.http.closeAllConnections();
    await closed;
    // a model that is still being loaded has nobody left who needs it
    await models.dispose();
}

async function atMost(work: Promise<void>, ms: number): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, Math.min(ms, maxTimeoutMs));
    });
    await Promise.race([work, late]);
    clearTimeout(timer);
}
