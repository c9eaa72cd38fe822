import type { LlamaModel, Token } from "../../plugin/index.js";
import type { RawLogprobs } from "./engine/raw-logprobs.js";

/** JSON has no infinity; OpenAI writes this for what is as good as impossible. */
const impossible = -9999;

/** In the form of chats. */
export function chatLogprobs(model: LlamaModel, raw: readonly RawLogprobs[]) {
    return raw.map(({ token, logprob, top }) => ({
        ...tokenLogprob(model, token, logprob),
        top_logprobs: top.map((other) => tokenLogprob(model, other.token, other.logprob))
    }));
}

/** In the form of completions. */
export function completionLogprobs(model: LlamaModel, raw: readonly RawLogprobs[], offset: number) {
    let at = offset;
    const tokens = raw.map(({ token }) => tokenText(model, token));
    const lengths = raw.map(({ token }) => model.detokenize([token], true).length);
    const text_offset = lengths.map((length) => {
        const start = at;
        at += length;
        return start;
    });
    return {
        tokens,
        token_logprobs: raw.map(({ logprob }) => finite(logprob)),
        top_logprobs: raw.map(({ top }) =>
            Object.fromEntries(top.map(({ token, logprob }) => [tokenText(model, token), finite(logprob)]))
        ),
        text_offset,
        /** Where the next piece begins. */
        end: at
    };
}

function tokenLogprob(model: LlamaModel, token: Token, logprob: number) {
    const text = model.detokenize([token], true);
    const bytes = isPart(text) ? null : [...Buffer.from(text)];
    return { token: tokenText(model, token), logprob: finite(logprob), bytes };
}

/** A part of a character has no text of its own, and all of them would look alike. */
function tokenText(model: LlamaModel, token: Token): string {
    const text = model.detokenize([token], true);
    return isPart(text) ? `token_id:${token}` : text;
}

function isPart(text: string): boolean {
    return text.includes("\ufffd");
}

function finite(logprob: number): number {
    return Number.isFinite(logprob) ? Math.min(0, logprob) : impossible;
}
