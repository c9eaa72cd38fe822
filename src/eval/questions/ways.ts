import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { type ArmtSnapshot, LlamaChatSession, type LlamaContext, resolveChatWrapper } from "../../../plugin/index.js";
import { ArmtError } from "../../util/errors.js";
import { type Asking, answerLength, questionTokens, readText, requireArmt, writeAnswer } from "./ask.js";
import type { Question, QuestionedText } from "./question.js";

/**
 * How a text reaches a model and how it is asked. `memory`: the last segment is closed too, so that answers come from
 * memory alone. The others do what users do, and draw tokens as the model's file says. `read`: `armt read` and `armt
 * ask`. `chat`: `LlamaChatSession`. `server`: a document and chats with `armt.memory`.
 */
export const ways = ["memory", "read", "chat", "server"] as const;
export type WayName = (typeof ways)[number];

export interface ReadOptions {
    signal?: AbortSignal;
    /** Called with the tokens read so far. */
    onProgress?: (tokens: number) => void;
}

/** One way to a model, with at most one text in it. */
export interface Way {
    /** Reads a text in place of the last one. @returns the number of its tokens */
    read(text: QuestionedText, options?: ReadOptions): Promise<number>;
    /** Forgets the text. */
    forget(): Promise<void>;
    /** Asks a question about the text. No question changes what the next one finds. */
    ask(question: Question, asking: Asking, signal?: AbortSignal): Promise<string>;
    dispose(): Promise<void>;
}

export type OpenWay = (context: LlamaContext) => Promise<Way>;

/** Opens a way within this process. */
export function openWay(name: Exclude<WayName, "server">): OpenWay {
    return { memory: openMemoryWay, read: openReadWay, chat: openChatWay }[name];
}

async function openMemoryWay(context: LlamaContext): Promise<Way> {
    const { model } = context;
    const sequence = context.getSequence();
    const armt = requireArmt(sequence);
    let held: ArmtSnapshot | undefined;
    const drop = () => {
        held?.dispose();
        held = undefined;
    };
    return {
        read: async (text, options) => {
            drop();
            const tokens = await readText(sequence, text, options);
            held = await armt.snapshot();
            return tokens;
        },
        forget: async () => {
            drop();
            await sequence.clearHistory();
            held = await armt.snapshot();
        },
        ask: async (question, asking, signal) => {
            if (held !== undefined) await armt.restore(held);
            const prompt = questionTokens(model, question, asking);
            return await writeAnswer(sequence, model, prompt, answerLength(model, question), { signal });
        },
        dispose: async () => {
            drop();
            await sequence.dispose();
        }
    };
}

async function openReadWay(context: LlamaContext): Promise<Way> {
    const { model } = context;
    const sequence = context.getSequence();
    const armt = requireArmt(sequence);
    const folder = await mkdtemp(path.join(tmpdir(), "armt-eval-"));
    const file = path.join(folder, "text.armt");
    const save = () => armt.save(file);
    return {
        read: async ({ sentences }, { signal, onProgress } = {}) => {
            await sequence.clearHistory();
            const { tokens } = await armt.feed(sentences(), {
                signal,
                onProgress: (progress) => onProgress?.(progress.tokens)
            });
            await save();
            return tokens;
        },
        forget: async () => {
            await sequence.clearHistory();
            await save();
        },
        ask: async (question, asking, signal) => {
            await armt.load(file);
            const prompt = questionTokens(model, question, asking);
            await armt.startQuestion(prompt);
            const length = answerLength(model, question);
            return await writeAnswer(sequence, model, prompt, length, { signal, asFileSays: true });
        },
        dispose: async () => {
            await sequence.dispose();
            await rm(folder, { recursive: true, force: true });
        }
    };
}

async function openChatWay(context: LlamaContext): Promise<Way> {
    const { model } = context;
    const sequence = context.getSequence();
    const armt = requireArmt(sequence);
    // finding it takes node-llama-cpp a second or more
    const chatWrapper = resolveChatWrapper(model);
    let held: ArmtSnapshot | undefined;
    let system = "";
    const drop = () => {
        held?.dispose();
        held = undefined;
        system = "";
    };
    return {
        read: async ({ sentences }, { signal, onProgress } = {}) => {
            drop();
            await sequence.clearHistory();
            system = [...sentences()].join("");
            const { tokens } = await armt.feed([system], {
                signal,
                onProgress: (progress) => onProgress?.(progress.tokens)
            });
            held = await armt.snapshot();
            return tokens;
        },
        forget: async () => {
            drop();
            await sequence.clearHistory();
        },
        ask: async (question, { form }, signal) => {
            if (form === "completion") throw new ArmtError("a chat has no completions; choose another --form");
            if (held !== undefined) await armt.restore(held);
            const session = new LlamaChatSession({ contextSequence: sequence, chatWrapper });
            session.setChatHistory(system === "" ? [] : [{ type: "system", text: system }]);
            try {
                const maxTokens = answerLength(model, question);
                const answer = await session.prompt(question.text, { maxTokens, signal });
                return firstLine(answer);
            } finally {
                session.dispose({ disposeSequence: false });
            }
        },
        dispose: async () => {
            drop();
            await sequence.dispose();
        }
    };
}

/** A way through a server that listens at `url`. */
export function serverWay(url: string, model: LlamaContext["model"]): Way {
    let memory: string | undefined;
    const request = async (pathname: string, init: RequestInit) => {
        const response = await fetch(`${url}${pathname}`, init);
        const body = (await response.json()) as Record<string, unknown>;
        if (!response.ok) throw new ArmtError(`the server answered ${response.status}: ${JSON.stringify(body)}`);
        return body;
    };
    const drop = async () => {
        if (memory !== undefined) await request(`/v1/armt/memories/${memory}`, { method: "DELETE" });
        memory = undefined;
    };
    return {
        read: async ({ sentences }, { signal } = {}) => {
            await drop();
            const body = [...sentences()].join("");
            const headers = { "content-type": "text/plain" };
            const made = await request("/v1/armt/memories", { method: "POST", headers, body, signal });
            memory = String(made.id);
            return Number(made.tokens);
        },
        forget: drop,
        ask: async (question, { form }, signal) => {
            if (form === "completion") throw new ArmtError("a chat has no completions; choose another --form");
            const body = JSON.stringify({
                messages: [{ role: "user", content: question.text }],
                max_tokens: answerLength(model, question),
                ...(memory === undefined ? {} : { armt: { memory } })
            });
            const headers = { "content-type": "application/json" };
            const answer = await request("/v1/chat/completions", { method: "POST", headers, body, signal });
            const [choice] = answer.choices as { message: { content: string | null } }[];
            return firstLine(choice?.message.content ?? "");
        },
        dispose: drop
    };
}

/** The other ways stop at the end of a line, too. */
function firstLine(text: string): string {
    return text.trim().split("\n")[0]!.trim();
}
