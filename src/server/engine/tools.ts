import { setImmediate } from "node:timers/promises";
import { TextDecoder } from "node:util";
import {
    type LlamaContextSequence,
    LlamaGrammarEvaluationState,
    type LlamaModel,
    type Token
} from "../../../plugin/index.js";
import { AnswerText, type TokenText } from "../../generation/AnswerText.js";
import type { Tool } from "../../generation/chat-template/messages.js";
import { endOfJson, idPlace, type ToolSyntax } from "../../generation/chat-template/tool-syntax.js";
import { TokenBytes } from "../../generation/TokenBytes.js";
import {
    type AnswerReader,
    type FinishReason,
    type ReadPiece,
    type WriteOptions,
    withRequested,
    write
} from "./generate.js";
import { createGrammar } from "./grammar.js";
import type { GivenSchema } from "./json-schema/compile-all.js";
import { choice, empty, literal, oneOf, type Part, type Rules, repeat, sequence } from "./json-schema/gbnf.js";
import type { RawLogprobsCollector } from "./raw-logprobs.js";

/** The tools that the model may call. */
export interface ToolChoice {
    readonly tools: readonly Tool[];
    /** Whether the answer must be a call. */
    readonly required: boolean;
    /** Whether one turn may contain several calls. */
    readonly parallel: boolean;
    /** Parameter of the request for each tool, for errors. */
    readonly params: readonly string[];
}

/** A call that the model has written. */
export interface WrittenCall {
    readonly index: number;
    readonly name: string;
    /** JSON, as the model wrote it. */
    readonly arguments: string;
}

export interface ToolAnswer {
    readonly finishReason: FinishReason | "tool_calls";
    readonly tokens: Token[];
    /** The stop string that ended the answer. */
    readonly stopString?: string;
}

export interface ToolOptions extends WriteOptions {
    stop: readonly string[];
    grammar: CallGrammar;
    onCall: (call: WrittenCall) => void | Promise<void>;
}

/** White space that a model may write differently from the template. */
const anySpace = repeat(oneOf(" \\n"), 0, 2);

/** The text that marks the beginning of calls: the first word before a name. */
function triggerOf({ begin }: ToolSyntax): string {
    return /^\S+/.exec(begin.trimStart())?.[0] ?? begin;
}

/** The beginning of the model's turn if it must be a call. */
export function forcedStart({ required, tools }: ToolChoice, { begin, middle }: ToolSyntax): string {
    if (!required) return "";
    return tools.length === 1 ? begin + tools[0]!.name + middle : begin;
}

/** The schemas of the tools' arguments. */
export function schemasOf({ tools, params }: ToolChoice): GivenSchema[] {
    return tools.map(({ parameters }, i) => ({ schema: parameters ?? {}, param: params[i]!, object: true }));
}

/** The compiled schemas of a request with tools. */
export interface CallSchemas {
    readonly rules: Rules;
    /** The arguments of each tool. */
    readonly values: readonly Part[];
    /** The form of an answer that is no call. Default: any text. */
    readonly text?: Part;
}

/** The grammars for calls: the names of the tools, and arguments that match their schemas. */
export class CallGrammar {
    private constructor(
        private readonly model: LlamaModel,
        readonly choice: ToolChoice,
        readonly syntax: ToolSyntax,
        private readonly rules: Rules,
        private readonly calls: readonly { readonly name: Part; readonly value: Part }[],
        private readonly text: Part | undefined
    ) {}

    /**
     * @param schemas the tools' {@link schemasOf}, compiled
     * @throws {ApiError} if llama.cpp refuses the grammar, before the answer begins
     */
    static async create(
        model: LlamaModel,
        choice: ToolChoice,
        syntax: ToolSyntax,
        { rules, values, text }: CallSchemas
    ): Promise<CallGrammar> {
        const calls = choice.tools.map(({ name }, i) => ({ name: literal(name), value: values[i]! }));
        const grammar = new CallGrammar(model, choice, syntax, rules, calls, text);
        await createGrammar(model.llama, rules, grammar.all, "tools");
        return grammar;
    }

    /** Whether an answer that is no call has a format. */
    get hasFormat(): boolean {
        return this.text !== undefined;
    }

    /** The grammar of a whole answer: a text of the format, or calls. */
    async formatted(): Promise<LlamaGrammarEvaluationState> {
        const calls = this.rules.add(sequence(flexible(this.syntax.begin.trimStart()), this.all));
        return await this.state(choice(this.text!, calls));
    }

    /**
     * Whether a text in which white space does not count begins a call.
     * @returns undefined if more of the text must be known
     */
    begins(text: string): boolean | undefined {
        const { begin, middle } = this.syntax;
        const starts = this.choice.tools.map(({ name }) => withoutSpace(begin + name + middle));
        const written = withoutSpace(text);
        if (starts.some((start) => written.startsWith(start))) return true;
        return starts.some((start) => start.startsWith(written)) ? undefined : false;
    }

    /** The grammar of the text after {@link forcedStart}. */
    async afterStart(): Promise<LlamaGrammarEvaluationState> {
        const isNamed = this.choice.tools.length === 1;
        return await this.state(isNamed ? sequence(this.calls[0]!.value, this.rest) : this.all);
    }

    /**
     * The grammar of a call that has already begun.
     * @param before bytes of the first token that come before the call
     * @param tokens the token in which the call begins, and all tokens after it
     * @returns undefined if these tokens do not begin a call
     */
    async continued(before: Buffer, tokens: readonly Token[]): Promise<LlamaGrammarEvaluationState | undefined> {
        const trigger = triggerOf(this.syntax);
        const rest = this.syntax.begin.trimStart().slice(trigger.length);
        const root = sequence(literal(before.toString()), literal(trigger), flexible(rest), this.all);
        const state = await this.state(root);
        const { AddonSampler } = (this.model as unknown as ModelInternals)._llama._bindings;
        const native = (state as unknown as { _state: object })._state;
        for (const token of tokens) {
            if (!AddonSampler.canBeNextTokenForGrammarEvaluationState(native, token)) return undefined;
            AddonSampler.acceptGrammarEvaluationStateToken(native, token);
        }
        return state;
    }

    /** A call of any tool, and the text after it. */
    private get all(): Part {
        return sequence(this.call, this.rest);
    }

    private get call(): Part {
        const middle = flexible(this.syntax.middle);
        return this.rules.add(
            choice(...this.calls.map(({ name, value }) => this.rules.add(sequence(name, middle, value))))
        );
    }

    private get rest(): Part {
        const { next, end } = this.syntax;
        const last = flexible(end);
        if (!this.choice.parallel || next === undefined) return last;
        return sequence(repeat(this.rules.add(sequence(flexible(next), this.call)), 0, maxCalls - 1), last);
    }

    private async state(root: Part): Promise<LlamaGrammarEvaluationState> {
        const grammar = await createGrammar(this.model.llama, this.rules, root, "tools");
        // llama.cpp parses it again
        await setImmediate();
        return new LlamaGrammarEvaluationState({ model: this.model, grammar });
    }
}

/** Largest number of calls in one turn. */
const maxCalls = 128;

interface ModelInternals {
    readonly _llama: {
        readonly _bindings: {
            readonly AddonSampler: {
                canBeNextTokenForGrammarEvaluationState(state: object, token: Token): boolean;
                acceptGrammarEvaluationStateToken(state: object, token: Token): void;
            };
        };
    };
}

function withoutSpace(text: string): string {
    return text.replace(/\s+/g, "");
}

/** Text whose white space may be written differently. */
function flexible(text: string): Part {
    return sequence(
        ...text.split(/(\s+)/).map((part) => {
            if (part === "") return empty;
            return /^\s+$/.test(part) ? anySpace : withIds(part);
        })
    );
}

function withIds(text: string): Part {
    const id = repeat(oneOf("a-zA-Z0-9"), 9, 9);
    return sequence(...text.split(idPlace).flatMap((part, i) => (i === 0 ? [literal(part)] : [id, literal(part)])));
}

/** Finds calls in a text that arrives in pieces. */
class CallParser {
    private text = "";
    private count = 0;
    private readonly names: readonly string[];

    constructor(
        private readonly syntax: ToolSyntax,
        { tools }: ToolChoice,
        /** The next part: the beginning of a call, its name, the arguments of a named call, or the text between two. */
        private expected: "begin" | "name" | { readonly name: string } | "next"
    ) {
        this.names = tools.map(({ name }) => name).sort((a, b) => b.length - a.length);
    }

    /** @returns the calls that this piece completes */
    push(text: string): WrittenCall[] {
        this.text += text;
        const calls: WrittenCall[] = [];
        for (let isSure = true; isSure; ) {
            const { expected } = this;
            if (expected === "begin") isSure = this.take(this.syntax.begin.trimStart(), "name");
            else if (expected === "next")
                isSure = this.syntax.next !== undefined && this.take(this.syntax.next, "name");
            else if (expected === "name")
                isSure = this.names.some((name) => this.take(name + this.syntax.middle, { name }));
            else {
                const start = this.text.search(/\S/);
                const end = start < 0 ? undefined : endOfJson(this.text, start);
                isSure = end !== undefined;
                if (end === undefined) break;
                calls.push({ index: this.count++, name: expected.name, arguments: this.text.slice(start, end) });
                this.text = this.text.slice(end);
                this.expected = "next";
            }
        }
        return calls;
    }

    private take(text: string, next: CallParser["expected"]): boolean {
        const [taken] = new RegExp(`^\\s*${toPattern(text)}`).exec(this.text) ?? [];
        if (taken === undefined) return false;
        this.text = this.text.slice(taken.length);
        this.expected = next;
        return true;
    }
}

function toPattern(text: string): string {
    return text
        .replace(/[.*+?^${}()|[\]\\]/g, "\\$&")
        .replace(/\s+/g, "\\s*")
        .replaceAll(idPlace, "[a-zA-Z0-9]{9}");
}

type Reading = { readonly parser: CallParser; readonly decoder: TextDecoder };

/** Reads an answer that may change from text to calls. */
class ToolReader implements AnswerReader {
    grammarState: LlamaGrammarEvaluationState | undefined;
    private text: AnswerText;
    /** White space at the end of the text; it is dropped if a call follows. */
    private space = "";
    private call: Reading | undefined;
    /** Tokens of an answer with a format that may be text or a call. */
    private unsure: Token[] | undefined;
    count = 0;

    constructor(
        private readonly model: LlamaModel,
        private readonly grammar: CallGrammar,
        private readonly stop: readonly string[],
        private readonly onCall: ToolOptions["onCall"]
    ) {
        this.text = this.newText();
    }

    /** Begins within a call, since the prompt ends with {@link forcedStart}. */
    async begin(): Promise<void> {
        const { choice: wanted } = this.grammar;
        this.grammarState = await this.grammar.afterStart();
        this.call = this.newCall(wanted.tools.length === 1 ? { name: wanted.tools[0]!.name } : "name");
    }

    /** Begins a text of the format or a call. */
    async beginFormatted(): Promise<void> {
        this.grammarState = await this.grammar.formatted();
        this.unsure = [];
    }

    async push(token: Token): Promise<ReadPiece> {
        if (this.call !== undefined) return await this.readCall(this.call, [token]);
        if (this.unsure !== undefined) return await this.readUnsure([...this.unsure, token]);
        if (this.grammar.hasFormat) return this.text.push(token);
        const { text, tokens, stopped } = this.text.push(token);
        if (stopped === undefined) return this.withoutSpace(text, tokens);
        if (this.stop.includes(stopped.string)) return { ...this.withoutSpace(text, tokens, true), stopped };
        this.grammarState = await this.grammar.continued(stopped.before, stopped.tokens);
        if (this.grammarState === undefined) {
            // the text only looked like a call
            const bytes = Buffer.concat(stopped.tokens.map((each) => TokenBytes.of(this.model).get(each)));
            const rest = bytes.subarray(stopped.before.length).toString();
            this.text = this.newText();
            return this.withoutSpace(text + rest, tokens);
        }
        const shown = this.withoutSpace(text, tokens);
        this.space = "";
        this.call = this.newCall("begin");
        const read = await this.readCall(this.call, stopped.tokens, stopped.before.length);
        return { ...shown, stopped: read.stopped };
    }

    end(): ReadPiece {
        if (this.call !== undefined) return { text: "", tokens: [] };
        const held = this.unsure === undefined ? { text: "", tokens: [] } : this.readFormatted(this.unsure);
        if (held.stopped !== undefined) return held;
        const { text, tokens } = this.text.end();
        return this.withoutSpace(held.text + text, [...held.tokens, ...tokens], true);
    }

    private async readUnsure(tokens: Token[]): Promise<ReadPiece> {
        this.unsure = tokens;
        const bytes = tokens.map((token) => TokenBytes.of(this.model).get(token, true));
        const begins = this.grammar.begins(Buffer.concat(bytes).toString());
        if (begins === undefined) return { text: "", tokens: [] };
        this.unsure = undefined;
        const state = begins ? await this.grammar.continued(Buffer.alloc(0), tokens) : undefined;
        if (state === undefined) return this.readFormatted(tokens);
        this.grammarState = state;
        this.call = this.newCall("begin");
        return await this.readCall(this.call, tokens);
    }

    private readFormatted(tokens: readonly Token[]): ReadPiece {
        this.unsure = undefined;
        let text = "";
        const shown: TokenText[] = [];
        for (const token of tokens) {
            const piece = this.text.push(token);
            text += piece.text;
            shown.push(...piece.tokens);
            if (piece.stopped !== undefined) return { text, tokens: shown, stopped: piece.stopped };
        }
        return { text, tokens: shown };
    }

    private async readCall({ parser, decoder }: Reading, tokens: readonly Token[], skipped = 0): Promise<ReadPiece> {
        const bytes = Buffer.concat(tokens.map((token) => TokenBytes.of(this.model).get(token, true)));
        const { parallel } = this.grammar.choice;
        for (const call of parser.push(decoder.decode(bytes.subarray(skipped), { stream: true }))) {
            this.count++;
            await this.onCall(call);
            if (!parallel) return { text: "", tokens: [], stopped: {} };
        }
        return { text: "", tokens: [] };
    }

    private newText(): AnswerText {
        // a grammar matches special tokens by their names, so the answer must contain them
        if (this.grammar.hasFormat) return new AnswerText(this.model, { stop: this.stop, special: true });
        return new AnswerText(this.model, { stop: [...this.stop, triggerOf(this.grammar.syntax)] });
    }

    private newCall(expected: ConstructorParameters<typeof CallParser>[2]): Reading {
        const { syntax, choice: wanted } = this.grammar;
        const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
        return { parser: new CallParser(syntax, wanted, expected), decoder };
    }

    private withoutSpace(text: string, tokens: readonly TokenText[], isLast = false): ReadPiece {
        const all = this.space + text;
        const shown = isLast ? all : all.trimEnd();
        this.space = all.slice(shown.length);
        return { text: shown, tokens };
    }
}

/** Lets the model answer with text or calls. */
export async function generateWithTools(
    sequence: LlamaContextSequence,
    last: Token,
    collector: RawLogprobsCollector,
    { stop, grammar, onCall, ...options }: ToolOptions
): Promise<ToolAnswer> {
    const reader = new ToolReader(sequence.model, grammar, stop, onCall);
    if (grammar.choice.required) await reader.begin();
    else if (grammar.hasFormat) await reader.beginFormatted();
    const written = await write(sequence, last, collector, reader, options);
    const { finishReason, ...rest } = withRequested(written, stop);
    return { ...rest, finishReason: reader.count > 0 && finishReason === "stop" ? "tool_calls" : finishReason };
}
