/** A value that this browser keeps, or `fallback`. */
export function load(key, fallback) {
    try {
        return JSON.parse(localStorage.getItem(`armt.${key}`)) ?? fallback;
    } catch {
        // storage is turned off, or another program wrote the value
        return fallback;
    }
}

/** @returns whether there was room; a browser may also refuse to keep anything */
export function save(key, value) {
    try {
        localStorage.setItem(`armt.${key}`, JSON.stringify(value));
        return true;
    } catch {
        return false;
    }
}
