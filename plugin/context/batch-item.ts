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
    };
    return new Proxy<Token[]>([], {
        get(tokens, key, receiver) {
            if (key === "length" && !isFilled) return ids.length;
            fill(tokens);
            return Reflect.get(tokens, key, receiver);
        },
        has(tokens, key) {
            fill(tokens);
            return Reflect.has(tokens, key);
        },
        ownKeys(tokens) {
            fill(tokens);
            return Reflect.ownKeys(tokens);
        },
        getOwnPropertyDescriptor(tokens, key) {
            fill(tokens);
            return Reflect.getOwnPropertyDescriptor(tokens, key);
        }
    });
}
