let key;
try {
    key = sessionStorage.getItem("key") ?? undefined;
} catch {
    // storage is turned off; the key lasts until the page is closed
}

export const hasKey = () => key !== undefined;

let askForKey = () => {};

/** Says what to do when the server needs a key, or a different one. */
export function onKeyNeeded(listener) {
    askForKey = listener;
}

export function useKey(value) {
    key = value;
    try {
        sessionStorage.setItem("key", value);
    } catch {}
}

/** A request that the server refused. */
export class RefusedError extends Error {
    constructor(message, { status, code }) {
        super(message);
        this.status = status;
        this.code = code;
    }
}

/** Sends a request to the server, with the key if there is one. */
export async function call(path, options = {}) {
    const headers = key === undefined ? options.headers : { ...options.headers, Authorization: `Bearer ${key}` };
    let response;
    try {
        response = await fetch(path, { ...options, headers });
    } catch (error) {
        if (options.signal?.aborted) throw error;
        throw new Error("The server cannot be reached. Check that it is running, then try again.", { cause: error });
    }
    if (response.ok) return response;
    if (response.status === 401) {
        askForKey();
        throw new RefusedError("The API key is missing or wrong. Enter it at the top.", { status: 401 });
    }
    const body = await response.json().catch(() => undefined);
    const { message = `${response.status} ${response.statusText}`, code } = body?.error ?? {};
    throw new RefusedError(message, { status: response.status, code });
}
