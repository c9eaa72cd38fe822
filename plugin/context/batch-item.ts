import type { Token } from "node-llama-cpp";
import type { BatchItem } from "../node-llama-cpp/batching.js";

/**
 * What a batching strategy sees of a read. Most strategies ask for the number of tokens only. Their list is made when a
 * strategy looks at more, since a copy for each batch would take time quadratic in the length of a text.
 * @param ids the tokens that the next batch may hold
 * @param asked finds the indices of those whose logits are wanted
 */
export function batchItem(ids: Int32Array, asked: () => readonly number[], evaluationPriority: number): BatchItem {
    return {
        tokens: lazyTokens(ids),
        get logits() {
            const logits: true[] = [];
            for (const index of asked()) logits[index] = true;
            return logits;
        },
        evaluationPriority
    };
}

function lazyTokens(ids: Int32Array): Token[] {
    let isFilled = false;
    const fill = (tokens: Token[]) => {
        if (!isFilled) for (const id of ids) tokens.push(id as Token);
        isFilled = true;
        return tokens;
    };
    return new Proxy<Token[]>([], {
        get: (tokens, key, receiver) =>
            key === "length" && !isFilled ? ids.length : Reflect.get(fill(tokens), key, receiver),
        has: (tokens, key) => Reflect.has(fill(tokens), key),
        ownKeys: (tokens) => Reflect.ownKeys(fill(tokens)),
        getOwnPropertyDescriptor: (tokens, key) => Reflect.getOwnPropertyDescriptor(fill(tokens), key)
    });
}
