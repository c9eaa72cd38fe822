import { draining } from "./engine/SequencePool.js";
import type { Listening } from "./listen.js";
import type { Server } from "./Server.js";

/** Time in which requests that were told to end do so. Unit: milliseconds. */
const settleMs = 2000;

/** Time for clients to take in their last answers. Unit: milliseconds. */
const flushMs = 2000;

/**
 * Ends a server: it takes on nothing more, and what was begun has `drainTimeoutMs` to end. Whatever clients do, all is over a few seconds later.
 */
export async function shutDown({ engine, ending, limits }: Server, listening: Listening): Promise<void> {
    const closed = listening.close();
    const drained = engine.pool.drain();
    await atMost(drained, limits.drainTimeoutMs);
    // who only watches does not keep the server
    ending.abort(draining());
    await atMost(drained, settleMs);
    listening.http.closeIdleConnections();
    await atMost(closed, flushMs);
    listening.http.closeAllConnections();
    await closed;
}

async function atMost(work: Promise<void>, ms: number): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, ms);
    });
    await Promise.race([work, late]);
    clearTimeout(timer);
}
