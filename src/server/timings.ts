import type { z } from "zod";
import type { Usage } from "./metrics.js";
import type { timingsSchema } from "./schemas/sampling.js";

/**
 * Time that the parts of a request's answers take. Unit: milliseconds. The first step of an answer also computes the
 * prompt's tokens in the open segment, so reading ends with the first token.
 */
export class AnswerClock {
    private pastMs = 0;
    private started: number | undefined;

    /** @param readMs time to read the prompt until the first answer begins */
    constructor(public readMs = 0) {}

    /** Time to write the answers. */
    get writeMs(): number {
        return this.pastMs + (this.started === undefined ? 0 : performance.now() - this.started);
    }

    /** An answer begins. */
    begin(): void {
        this.started = performance.now();
    }

    /** Its first token is there. */
    readonly onFirst = (): void => {
        const now = performance.now();
        this.readMs += now - (this.started ?? now);
        this.started = now;
    };

    end(): void {
        this.pastMs = this.writeMs;
        this.started = undefined;
    }
}

/** In the form of llama-server's `timings`. */
export function timingsOf(
    { promptTokens, cachedTokens, completionTokens }: Usage,
    { readMs, writeMs }: AnswerClock
): z.infer<typeof timingsSchema> {
    const promptCount = promptTokens - cachedTokens;
    return {
        cache_n: cachedTokens,
        prompt_n: promptCount,
        prompt_ms: readMs,
        prompt_per_token_ms: ratio(readMs, promptCount),
        prompt_per_second: ratio(1000 * promptCount, readMs),
        predicted_n: completionTokens,
        predicted_ms: writeMs,
        predicted_per_token_ms: ratio(writeMs, completionTokens),
        predicted_per_second: ratio(1000 * completionTokens, writeMs)
    };
}

/** JSON has no infinity. */
function ratio(value: number, count: number): number {
    return count === 0 ? 0 : value / count;
}
