import type { LlamaContext, LlamaModel } from "../../../plugin/index.js";
import { type MeasureOptions, type MemoryRow, measureMemory } from "../questions/measure.js";
import type { MakeText } from "../questions/question.js";
import { makeHaystack } from "./haystack.js";
import type { RecallTexts, Split } from "./task.js";

export interface HaystackKind {
    /** Facts in a haystack, including overridden ones. */
    facts: number;
    split: Split;
}

/** Haystacks of one kind. */
export function haystacks(texts: RecallTexts, kind: HaystackKind): MakeText {
    return ({ tokens, seed, countTokens }) => makeHaystack(texts, { ...kind, tokens, seed, countTokens });
}

export type RecallOptions = HaystackKind & Omit<MeasureOptions, "asking" | "makeText">;

/** Reads haystacks of one length and asks about their facts, in the words of the recall task. */
export async function measureRecall(
    model: LlamaModel,
    context: LlamaContext,
    texts: RecallTexts,
    { facts, split, ...options }: RecallOptions
): Promise<MemoryRow> {
    const asking = [{ form: "plain", plain: texts.task.answer }] as const;
    const makeText = haystacks(texts, { facts, split });
    const [row] = await measureMemory(model, context, { ...options, asking, makeText });
    return row!;
}
