import { seededRandom } from "../../src/util/random.js";

/** Times of one request. Unit: milliseconds. */
export type Timing = { firstToken: number; total: number };

/**
 * Logit biases that favour printable ASCII in the tiny tokenizer. The server would hold back a token with only part of
 * a character until the next tokens complete it.
 */
export const printable = Object.fromEntries(Array.from({ length: 94 }, (_, id) => [id, 100]));

/** Number of text tokens in the tiny tokenizer. */
const textTokens = 286;

let prompts = 0;

/** Makes a prompt that was never sent before, so that no part of it can be cached. */
export function randomPrompt(tokens: number): number[] {
    const random = seededRandom(prompts++, "prompt");
    return Array.from({ length: tokens }, () => Math.floor(random() * textTokens));
}

/** Sends a prompt and reads the answer as a stream. */
export async function ask(url: string, prompt: number[], maxTokens: number, signal?: AbortSignal): Promise<Timing> {
    const started = performance.now();
    const response = await fetch(`${url}/v1/completions`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ prompt, max_tokens: maxTokens, stream: true, logit_bias: printable }),
        signal
    });
    if (!response.ok) throw new Error(`${response.status}: ${await response.text()}`);
    let firstToken: number | undefined;
    let text = "";
    for await (const piece of response.body!.pipeThrough(new TextDecoderStream())) {
        text += piece;
        if (text.includes("data: ")) firstToken ??= performance.now() - started;
    }
    if (firstToken === undefined || !text.endsWith("data: [DONE]\n\n")) throw new Error(`a stream broke off: ${text}`);
    return { firstToken, total: performance.now() - started };
}

/** Runs several clients for a time. Each sends its next request as soon as it has the answer to the last one. */
export async function load(
    url: string,
    clients: number,
    { milliseconds, promptTokens, maxTokens }: { milliseconds: number; promptTokens: number; maxTokens: number }
): Promise<{ timings: Timing[]; requestsPerSecond: number }> {
    const timings: Timing[] = [];
    const started = performance.now();
    const client = async () => {
        while (performance.now() - started < milliseconds)
            timings.push(await ask(url, randomPrompt(promptTokens), maxTokens));
    };
    await Promise.all(Array.from({ length: clients }, client));
    return { timings, requestsPerSecond: (1000 * timings.length) / (performance.now() - started) };
}
