import type { ArmtMemoryStore, LlamaContext } from "../../../plugin/index.js";
import type { QuestionForms } from "../../util/question-forms.js";
import { Engine } from "../engine/Engine.js";
import type { PooledModel } from "./ModelPool.js";

/** A document to try a model with. */
export interface SampleDocument {
    readonly name: string;
    readonly text: string;
    /** Questions that the text answers. */
    readonly questions: readonly string[];
}

/** A model that was loaded for a server. */
export interface LoadedModel {
    /**
     * Context whose sequences answer requests, made with `batching: {itemPrioritizationStrategy: fairBatching}`. All
     * its sequences are taken.
     */
    context: LlamaContext;
    /** A document to try an ARMT model with, which the page offers. Default: none. */
    sample?: SampleDocument;
    /**
     * The only questions that the model was trained for. The page names them, and says so where a question has none of
     * the forms. Default: any question.
     */
    questionForms?: QuestionForms;
    /** Where prefixes of prompts are kept. Default: only what the sequences hold is used again. */
    store?: ArmtMemoryStore;
}

/** A model whose sequences answer requests. */
export class ServedModel implements PooledModel {
    readonly engine: Engine;
    readonly sample: SampleDocument | undefined;
    readonly questionForms: QuestionForms | undefined;

    /** @param free frees what was loaded */
    constructor(
        id: string,
        { context, store, sample, questionForms }: LoadedModel,
        maxQueue: number,
        private readonly free: () => Promise<void>
    ) {
        this.engine = new Engine(id, context, store, maxQueue);
        this.sample = sample;
        this.questionForms = questionForms;
    }

    async dispose(): Promise<void> {
        await this.free();
    }
}
