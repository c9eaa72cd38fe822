let isHeld = false;

/**
 * Makes a write beyond `ulimit -f` an error, as it is in Node: Node ignores SIGXFSZ. But a library of node-llama-cpp's
 * listens to it, and ends the process unless somebody else listens too. The listener stays, since the signal would end
 * the process once the last one is gone.
 */
export function ignoreFileSizeSignal(): void {
    // Windows knows no such signal
    if (isHeld || process.platform === "win32") return;
    isHeld = true;
    process.on("SIGXFSZ", () => {});
}
