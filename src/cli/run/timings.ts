import type { ArmtSequence } from "../../../plugin/index.js";

/** Times are in milliseconds. */
export interface Timings {
    /** Reading the prompt's file, loading the model, making the context. */
    loadMs: number;
    /** Evaluating the prompt. */
    promptMs: number;
    /** Of the tokens that were not remembered. */
    promptTokensPerSecond: number;
    /** Generating the tokens after the first. */
    generateMs: number;
    generatedTokensPerSecond: number;
}

/** One line for people. */
export function describeTimings(
    { prompt, cached = 0, generated }: { prompt: number; cached?: number; generated: number },
    timings: Timings,
    armt?: Pick<ArmtSequence, "segmentsClosed" | "schedule">
): string {
    const parts = [
        `load ${seconds(timings.loadMs)}`,
        `prompt ${prompt} tokens${cached > 0 ? `, ${cached} of them remembered,` : ""} in ` +
            `${seconds(timings.promptMs)} (${rate(timings.promptTokensPerSecond)})`,
        `generated ${generated} tokens in ${seconds(timings.generateMs)} (${rate(timings.generatedTokensPerSecond)})`
    ];
    if (armt !== undefined) parts.push(`${armt.segmentsClosed} segments closed, ${armt.schedule}`);
    return parts.join(" | ");
}

function seconds(ms: number): string {
    return `${(ms / 1000).toFixed(2)} s`;
}

function rate(tokensPerSecond: number): string {
    return `${tokensPerSecond.toFixed(1)} tokens/s`;
}
