import type { ArmtSequence } from "../../../plugin/index.js";

/** All times are in milliseconds. */
export interface Timings {
    /** Time to read the prompt's file, load the model and create the context. */
    loadMs: number;
    /** Time to evaluate the prompt. */
    promptMs: number;
    /** Speed over the prompt tokens that were not cached. */
    promptTokensPerSecond: number;
    /** Time to generate the tokens after the first. */
    generateMs: number;
    generatedTokensPerSecond: number;
}

/** A one-line, human-readable summary. */
export function describeTimings(
    { prompt, cached = 0, generated }: { prompt: number; cached?: number; generated: number },
    timings: Timings,
    armt?: Pick<ArmtSequence, "segmentsClosed" | "schedule">
): string {
    const parts = [
        `load ${seconds(timings.loadMs)}`,
        `prompt ${tokens(prompt)}${cached > 0 ? `, ${cached} of them remembered,` : ""} in ` +
            `${seconds(timings.promptMs)} (${rate(timings.promptTokensPerSecond)})`,
        `generated ${tokens(generated)} in ${seconds(timings.generateMs)} (${rate(timings.generatedTokensPerSecond)})`
    ];
    if (armt !== undefined) parts.push(`${armt.segmentsClosed} segments closed, ${armt.schedule}`);
    return parts.join(" | ");
}

function seconds(ms: number): string {
    return `${(ms / 1000).toFixed(2)} s`;
}

function tokens(count: number): string {
    return `${count} ${count === 1 ? "token" : "tokens"}`;
}

function rate(tokensPerSecond: number): string {
    return `${tokensPerSecond.toFixed(1)} tokens/s`;
}
