import type { NativeSequenceStats } from "../native/addon.js";
import type { ArmtProgress } from "../types.js";

/** Short enough for a smooth progress bar, long enough to cost nothing. Unit: milliseconds. */
const interval = 100;

/** Reports the progress of one prompt from the engine's counters; node-llama-cpp has no callback for it. */
export class ProgressReporter {
    private readonly before: NativeSequenceStats | undefined;
    private readonly timer: NodeJS.Timeout;
    private tokensDone = 0;

    constructor(
        private readonly onProgress: (progress: ArmtProgress) => void,
        private readonly readStats: () => NativeSequenceStats | undefined,
        private readonly tokensTotal: number
    ) {
        this.before = readStats();
        this.timer = setInterval(() => this.poll(), interval);
        this.timer.unref();
    }

    /** Stops reporting. A prompt that was read completely gets a last report. */
    end(complete: boolean): void {
        clearInterval(this.timer);
        if (complete) this.report(this.tokensTotal);
    }

    private poll(): void {
        const done = (this.readStats()?.tokens ?? 0) - (this.before?.tokens ?? 0);
        if (done > this.tokensDone && done < this.tokensTotal) this.report(done);
    }

    private report(tokensDone: number): void {
        this.tokensDone = tokensDone;
        const now = this.readStats();
        const since = (key: "segmentsClosed" | "cells") => Math.max(0, (now?.[key] ?? 0) - (this.before?.[key] ?? 0));
        try {
            this.onProgress({
                tokensDone,
                tokensTotal: this.tokensTotal,
                segments: since("segmentsClosed"),
                cells: since("cells")
            });
        } catch (error) {
            // as with node-llama-cpp's callbacks, a faulty one must not end the evaluation
            console.error(error);
        }
    }
}
