import { seededRandom } from "../../src/util/random.js";

/** What one request took. Unit: milliseconds. */
export type Timing = { firstToken: number; total: number };

/**
 * Printable ASCII in the tiny tokenizer: a token that is a part of a character would be shown only with the next ones.
 */
export const printable = Object.fromEntries(Array.from({ length: 94 }, (_, id) => [id, 100]));

/** Ids that stand for text in the tiny tokenizer. */
const textTokens = 286;

let prompts = 0;

/** A prompt that was never sent before, so that no part of it can be cached. */
export function randomPrompt(tokens: number): number[] {
    const random = seededRandom(prompts++, "prompt");
    return Array.from({ length: tokens }, () => Math.floor(random() * textTokens));
}

/** Sends a prompt and reads the answer as it comes. */
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

/** So many clients, each asking again as soon as it is answered, for a time. */
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
