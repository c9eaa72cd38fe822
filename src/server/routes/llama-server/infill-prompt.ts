import type { Token } from "../../../../plugin/index.js";
import type { Engine } from "../../engine/Engine.js";
import { ApiError } from "../../errors.js";
import type { InfillRequest } from "../../schemas/llama-server.js";

/**
 * The prompt of a completion in the middle, as llama-server makes it: other files, the prefix, the suffix, and what the
 * middle begins with.
 * @throws {ApiError} if the model has no tokens for it
 */
export async function infillPrompt(
    engine: Engine,
    { input_prefix, input_suffix, input_extra = [], prompt = "" }: InfillRequest,
    signal: AbortSignal
): Promise<Token[]> {
    const { bos, shouldPrependBosToken, infill } = engine.model.tokens;
    const { prefix, suffix, middle } = engine.hasTokenizer ? infill : { prefix: null, suffix: null, middle: null };
    if (prefix === null || suffix === null || middle === null) {
        const missing = Object.entries({ prefix, suffix, middle }).flatMap(([name, token]) =>
            token === null ? [`${name} token`] : []
        );
        throw new ApiError(501, `infill is not supported by this model: it has no ${missing.join(", no ")}`, {
            type: "not_supported_error"
        });
    }
    const tokens: Token[] = shouldPrependBosToken && bos !== null ? [bos] : [];
    const add = async (text: string) => {
        for (const token of await engine.tokenize(text, { signal })) tokens.push(token);
    };
    // llama-server's separator for a model without tokens for files
    for (const { text } of input_extra) await add(`\n\n--- snippet ---\n\n${text}`);
    tokens.push(prefix);
    await add(input_prefix);
    tokens.push(suffix);
    await add(input_suffix);
    tokens.push(middle);
    await add(prompt);
    return tokens;
}
