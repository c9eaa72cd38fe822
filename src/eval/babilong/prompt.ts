import type { LlamaModel, Token } from "../../../plugin/index.js";
import { beginTokens } from "../../../plugin/memory/feed.js";
import { ChatTemplate } from "../../generation/chat-template/ChatTemplate.js";
import { ArmtError, quote } from "../../util/errors.js";
import { chatTokens } from "../questions/ask.js";

/** Default prompt template. */
export const defaultTemplate = "{input}\n\nQuestion: {question}\nAnswer:";
/** The user's turn of a chat: the context, the question and what to do, as in the authors' evaluations. */
export const chatTemplate = "{input}\n\n{question} Answer with a single word.";

/** The part of a sample that the model sees. */
type Sample = { readonly input: string; readonly question: string };

/** How the prompt for a question is made. */
export interface BabilongForm {
    /** With `{input}` and `{question}`. Not used with `perSentence`. */
    readonly template: string;
    /** The template is a user's turn in the model's chat template. */
    readonly chat: boolean;
    /**
     * Each sentence of the input, and the question, are tokenized on their own and joined without spaces, as in the
     * data of the authors' trainings.
     */
    readonly perSentence: boolean;
    /** Stands right before the answer: a token id, or the first token of a text. Default: none. */
    readonly answerToken?: string;
}

/** Makes the prompts of one model. */
export class BabilongPrompts {
    /** `undefined` if the file says how the model was asked in its training; a turn has no system message there. */
    private readonly template: ChatTemplate | undefined;

    constructor(
        private readonly model: LlamaModel,
        private readonly form: BabilongForm
    ) {
        if (form.chat && model.armt?.ask === undefined) this.template = new ChatTemplate(model);
    }

    /** The tokens of a question with its text. @throws {ArmtError} if the answer's token does not exist */
    public async tokens(sample: Sample): Promise<Token[]> {
        const { model } = this;
        const tokens = [...(await this.textTokens(sample)), ...answerTokens(model, this.form.answerToken)];
        return [...beginTokens(model, tokens), ...tokens];
    }

    public async [Symbol.asyncDispose](): Promise<void> {
        await this.template?.dispose();
    }

    private async textTokens(sample: Sample): Promise<Token[]> {
        const { model, template } = this;
        const { chat, perSentence } = this.form;
        if (perSentence)
            return [...sentencesOf(sample.input), sample.question].flatMap((sentence) => model.tokenize(sentence));
        const text = fill(this.form.template, sample);
        if (!chat) return model.tokenize(text);
        if (template === undefined) return chatTokens(model, text);
        return (await template.render([{ role: "user", text }])).tokens;
    }
}

function answerTokens(model: LlamaModel, answerToken: string | undefined): Token[] {
    if (answerToken === undefined) return [];
    if (!/^\d+$/.test(answerToken)) {
        const [first] = model.tokenize(answerToken);
        if (first === undefined) throw new ArmtError(`${quote(answerToken)} has no token (--answer-token)`);
        return [first];
    }
    const id = Number(answerToken);
    const size = model.armt?.vocabSize ?? 0;
    if (id >= size) throw new ArmtError(`there is no token ${id}: the model has ${size} (--answer-token)`);
    return [id as Token];
}

const segmenter = new Intl.Segmenter("en", { granularity: "sentence" });

/** The sentences of a text, without the space around them. */
export function sentencesOf(text: string): string[] {
    return [...segmenter.segment(text)].map(({ segment }) => segment.trim()).filter((segment) => segment !== "");
}

/** Fills in the template. A function does the replacement, since a string would interpret signs such as `$&`. */
function fill(template: string, { input, question }: Sample): string {
    return template.replaceAll(/\{(input|question)\}/g, (_, name: "input" | "question") => ({ input, question })[name]);
}
