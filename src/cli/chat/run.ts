import { existsSync } from "node:fs";
import path from "node:path";
import process from "node:process";
import type { Readable, Writable } from "node:stream";
import { ArmtSnapshot } from "../../../plugin/index.js";
import { isSnapshotFile } from "../../../plugin/memory/snapshot-file.js";
import { openModel } from "../../model/open-model.js";
import { withoutMemory } from "../../model/without-memory.js";
import { ArmtError, quote } from "../../util/errors.js";
import { UsageError } from "../../util/failure.js";
import { RandomAccessFile } from "../../util/random-access-file.js";
import { describeForms, questionFormsOf } from "../shared/included-model.js";
import { InterruptedError } from "../shared/interrupt.js";
import { leadingSpaceTrimmer } from "../shared/leading-space.js";
import { modelOfMemory } from "../shared/memory-model.js";
import { Conversation } from "./Conversation.js";
import { type ChatLines, openLines } from "./lines.js";
import type { ChatOptions } from "./options.js";
import { createSave } from "./save.js";

export interface ChatStreams {
    input: Readable & { isTTY?: boolean };
    /** Gets the answers. */
    output: Writable;
    /** Gets everything else. */
    messages: Writable;
}

const help = `/reset       start a new chat, on the same memory
/save FILE   save the memory, with this chat in it; --force before FILE replaces another file
/exit        end, as Ctrl+D does
A backslash at the end of a line continues the message. Ctrl+C stops an answer.
`;

/** Answers messages until the input ends. */
export async function chat(options: ChatOptions, { input, output, messages }: ChatStreams): Promise<void> {
    const { memory: file, model: named } = await sortArguments(options);
    const header = file === undefined ? undefined : await ArmtSnapshot.inspect(file);
    const modelPath = header === undefined ? named : modelOfMemory(file!, header.modelPath, named);
    const { llama, file: modelFile, createContext } = await openModel({ ...options, model: modelPath });
    let snapshot: ArmtSnapshot | undefined;
    let conversation: Conversation | undefined;
    let lines: ChatLines | undefined;
    let stop: (() => void) | undefined;
    const onInterrupt = () => {
        if (stop === undefined) lines?.close();
        else stop();
    };
    process.on("SIGINT", onInterrupt);
    try {
        const sequence = (await createContext({ like: header })).getSequence();
        if (file !== undefined) {
            if (sequence.armt === undefined) throw withoutMemory(modelFile);
            await sequence.armt.load(file);
            snapshot = await sequence.armt.snapshot();
        }
        conversation = new Conversation(sequence, options, snapshot);
        const save = createSave(sequence, modelFile);
        const about = header === undefined ? "" : `, on a memory of ${header.tokensRead} tokens`;
        if (input.isTTY) {
            const forms = await questionFormsOf(modelFile);
            const limits = forms === undefined ? "" : `${describeForms(forms)}\n`;
            const name = forms === undefined ? path.basename(modelFile) : "The included model";
            messages.write(`${name}${about}. /help lists commands, Ctrl+D ends.\n${limits}`);
        }
        lines = openLines({ input, output: messages, onInterrupt });
        for (let text = await lines.next(); text !== undefined; text = await lines.next()) {
            if (text.trim() === "") continue;
            const [name = "", ...words] = text.trim().split(/\s+/);
            const isCommand = text.startsWith("/");
            if (isCommand && (name === "/exit" || name === "/quit")) break;
            const controller = new AbortController();
            try {
                if (isCommand) {
                    if (name === "/reset") conversation.reset();
                    else if (name === "/save") messages.write(`${await save(words)}\n`);
                    else messages.write(name === "/help" ? help : `unknown command ${name}; /help lists commands\n`);
                    continue;
                }
                stop = () => controller.abort(new InterruptedError());
                const trim = leadingSpaceTrimmer();
                for await (const piece of conversation.answer(text, controller.signal)) output.write(trim(piece));
                output.write("\n");
            } catch (error) {
                if (!(error instanceof ArmtError) || input.isTTY !== true) throw error;
                messages.write(`${error.message}\n`);
            } finally {
                stop = undefined;
            }
        }
    } finally {
        process.off("SIGINT", onInterrupt);
        lines?.close();
        await conversation?.dispose();
        snapshot?.dispose();
        await llama.dispose();
    }
}

/** Takes a model file in the memory's place for the model. */
async function sortArguments({ memory, model }: ChatOptions): Promise<Pick<ChatOptions, "memory" | "model">> {
    const isMemory =
        memory === undefined || memory.endsWith(".armt") || (existsSync(memory) && (await isSnapshotFile(memory)));
    if (isMemory) return { memory, model };
    const remedy = "read a text first: armt read text.txt -o text.armt";
    if (model !== undefined) throw new UsageError(`${quote(memory)} is not a memory file; ${remedy}`);
    if (existsSync(memory) && !(await isModelFile(memory)))
        throw new UsageError(`${quote(memory)} is neither a memory nor a model; ${remedy}`);
    return { memory: undefined, model: memory };
}

async function isModelFile(path: string): Promise<boolean> {
    const file = await RandomAccessFile.open(path);
    try {
        return file.size >= 4 && (await file.read(0, 4)).toString("latin1") === "GGUF";
    } finally {
        await file.close();
    }
}
