import { call } from "./api.js";
import { readEvents } from "./events.js";
import { randomName } from "./random-name.js";

/** How long to wait until a stopped upload has become a partial memory. Unit: milliseconds. */
const patience = 10_000;

/**
 * Sends a text to be read.
 * @param options `from`: id of the memory to continue; `model`: name of the model that reads
 * @returns the memory
 * @throws the signal's reason, when the server has kept what it had read
 */
export async function uploadText(body, { name, from, model, signal, onProgress }) {
    const watch = randomName();
    const watching = new AbortController();
    // browsers show an answer only after the whole request is sent, so a second request tells how far the server is
    const { body: progress } = await call(`v1/armt/progress/${watch}`, { signal: watching.signal });
    const watched = (async () => {
        for await (const event of readEvents(progress)) onProgress(event.progress);
    })();
    watched.catch(() => {});
    const stop = () => void call(`v1/armt/progress/${watch}`, { method: "DELETE" }).catch(() => {});
    signal.addEventListener("abort", stop);
    try {
        signal.throwIfAborted();
        const given = Object.entries({ from, model }).filter(([, value]) => value !== undefined);
        const query = new URLSearchParams([["name", name], ["watch", watch], ...given]);
        const headers = { "Content-Type": "text/plain; charset=utf-8" };
        const response = await call(`v1/armt/memories?${query}`, { method: "POST", headers, body, signal });
        return await response.json();
    } catch (error) {
        if (signal.aborted) {
            await Promise.race([watched, new Promise((resolve) => setTimeout(resolve, patience))]).catch(() => {});
            throw signal.reason;
        }
        throw error;
    } finally {
        signal.removeEventListener("abort", stop);
        watching.abort();
    }
}
