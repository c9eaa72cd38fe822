import type { LlamaModel, Token } from "../../plugin/index.js";
import { TokenBytes } from "../generation/TokenBytes.js";
import type { ShownToken } from "./engine/generate.js";

/** JSON has no infinity; OpenAI writes this for what is as good as impossible. */
const impossible = -9999;

/**
 * In the form of chats. The texts of all tokens, joined, are the answer, and so are their bytes. If several tokens make
 * up a character, it is the text of the last one. Special tokens have no text.
 */
export function chatLogprobs(model: LlamaModel, tokens: readonly ShownToken[]) {
    return tokens.map(({ text, bytes, logprobs }) => ({
        token: text,
        logprob: finite(logprobs?.logprob),
        bytes: [...bytes],
        top_logprobs: (logprobs?.top ?? []).map(({ token, logprob }) => ({
            token: nameOf(model, token),
            logprob: finite(logprob),
            bytes: [...TokenBytes.of(model).get(token, true)]
        }))
    }));
}

/** A token of a completion or of its prompt. Nothing predicts a prompt's first token, so it has null. */
export type CompletionToken = Pick<ShownToken, "text"> & { readonly logprobs: ShownToken["logprobs"] | null };

/**
 * In the form of completions.
 * @param offset where the first token's text begins in the answer. Unit: Unicode code points, as in Python's texts.
 */
export function completionLogprobs(model: LlamaModel, tokens: readonly CompletionToken[], offset: number) {
    let end = offset;
    const text_offset = tokens.map(({ text }) => {
        const start = end;
        end += [...text].length;
        return start;
    });
    return {
        tokens: tokens.map(({ text }) => text),
        token_logprobs: tokens.map(({ logprobs }) => (logprobs === null ? null : finite(logprobs?.logprob))),
        top_logprobs: tokens.map(({ logprobs }) =>
            logprobs === null
                ? null
                : Object.fromEntries(
                      (logprobs?.top ?? []).map(({ token, logprob }) => [nameOf(model, token), finite(logprob)])
                  )
        ),
        text_offset,
        end
    };
}

/** The text of a token; part of a character is written as OpenAI writes it, such as `bytes:\\xf0\\x9f`. */
function nameOf(model: LlamaModel, token: Token): string {
    const bytes = TokenBytes.of(model).get(token, true);
    const text = bytes.toString();
    if (!text.includes("\ufffd")) return text;
    return `bytes:${[...bytes].map((byte) => `\\x${byte.toString(16).padStart(2, "0")}`).join("")}`;
}

function finite(logprob: number | undefined): number {
    return logprob !== undefined && Number.isFinite(logprob) ? Math.min(0, logprob) : impossible;
}
