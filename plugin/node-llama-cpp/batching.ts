import { createRequire } from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";
import type { LlamaContext } from "node-llama-cpp";
import { contextInternals, type DecodeRequest } from "./internals.js";

/** A read as a strategy sees it. */
export type BatchItem = Pick<DecodeRequest, "tokens" | "logits" | "evaluationPriority">;

/** Shares a batch of `size` tokens among reads. */
export type BatchStrategy = (options: {
    items: readonly object[];
    size: number;
}) => { item: object; processAmount: number }[];

/**
 * Takes over the choice of what a batch holds: node-llama-cpp then reads all that it is given.
 * @returns the strategy that the context was created with
 */
export async function takeBatchStrategy(context: LlamaContext): Promise<BatchStrategy> {
    const { _batchingOptions: options } = contextInternals(context);
    const require = createRequire(import.meta.resolve("node-llama-cpp"));
    const file = path.join(
        path.dirname(require.resolve("node-llama-cpp")),
        "evaluator/LlamaContext/utils/resolveBatchItemsPrioritizationStrategy.js"
    );
    const { resolveBatchItemsPrioritizationStrategy } = await import(pathToFileURL(file).href);
    const strategy = resolveBatchItemsPrioritizationStrategy(options.itemPrioritizationStrategy);
    options.itemPrioritizationStrategy = ({ items }: { items: BatchItem[] }) =>
        items.map((item) => ({ item, processAmount: item.tokens.length }));
    return strategy;
}
