import type { ExecutionContext } from "ava";
import { getLlama, LlamaLogLevel, type LlamaModel, type Token } from "../../plugin/index.js";
import { type FactQuestion, makeHaystack } from "../../src/eval/recall/haystack.js";
import { readRecallTexts } from "../../src/eval/recall/task.js";
import { recallModelPath } from "../../src/model/embedded-model.js";

let llama: ReturnType<typeof getLlama> | undefined;

/** Loads the package's own model, whose questions start a segment. */
export async function loadRecallModel(t: ExecutionContext): Promise<LlamaModel> {
    llama ??= getLlama({ gpu: false, build: "never", maxThreads: 1, logLevel: LlamaLogLevel.error });
    const model = await (await llama).loadModel({ modelPath: recallModelPath });
    t.teardown(() => model.dispose());
    return model;
}

/** A text, its tokens, and questions about it. */
export interface RecallText {
    readonly text: string;
    readonly tokens: Token[];
    readonly questions: readonly FactQuestion[];
}

/** A text that leaves `open` tokens in the open segment, or up to 4 fewer, and the questions about facts in it. */
export async function recallText(model: LlamaModel, segments: number, open: number, seed: number): Promise<RecallText> {
    const { segmentSize } = model.armt!;
    const wanted = segments * segmentSize + open;
    const countTokens = (text: string) => model.tokenize(text).length;
    const haystack = makeHaystack(await readRecallTexts(), {
        tokens: wanted + segmentSize,
        facts: segments,
        changes: 0,
        seed,
        countTokens
    });
    const words = [...haystack.sentences()].join("").split(" ");
    while (countTokens(words.join(" ")) > wanted) words.shift();
    const text = words.join(" ");
    const tokens = model.tokenize(text);
    if (wanted - tokens.length > 4) throw new Error(`the text has ${tokens.length} tokens instead of ${wanted}`);
    return { text, tokens, questions: haystack.questions.filter(({ fact }) => text.includes(fact.sentence)) };
}
