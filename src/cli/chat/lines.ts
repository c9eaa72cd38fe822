import { createInterface, type Interface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { inputLines } from "../shared/input-lines.js";

/** The messages of a chat, read from a terminal or a pipe. */
export interface ChatLines {
    /** The next message; undefined at the end of the input. */
    next(): Promise<string | undefined>;
    close(): void;
}

export interface ChatLinesOptions {
    input: Readable & { isTTY?: boolean };
    /** Gets the prompt, and the echo of a terminal. */
    output: Writable;
    /** Called for Ctrl+C. */
    onInterrupt: () => void;
}

/**
 * Reads messages line by line. A line that ends with a backslash continues on the next one.
 * @throws {NotTextError} while reading, if a pipe's input is not text
 */
export function openLines(options: ChatLinesOptions): ChatLines {
    const { read, close } = options.input.isTTY === true ? terminalLines(options) : pipeLines(options.input);
    return {
        next: async () => {
            let text = await read("> ");
            while (text?.endsWith("\\")) {
                const more = await read("… ");
                text = `${text.slice(0, -1)}\n${more ?? ""}`;
                if (more === undefined) break;
            }
            return text;
        },
        close
    };
}

interface LineSource {
    /** The next line, after a prompt where somebody sees it; undefined at the end of the input. */
    read(prompt: string): Promise<string | undefined>;
    close(): void;
}

function pipeLines(input: Readable): LineSource {
    const lines = inputLines(input);
    let close = () => {};
    const closed = new Promise<undefined>((resolve) => {
        close = () => {
            resolve(undefined);
            input.destroy();
        };
    });
    return {
        read: async () => {
            const line = await Promise.race([lines.next(), closed]);
            return line?.done === false ? line.value : undefined;
        },
        close
    };
}

function terminalLines({ input, output, onInterrupt }: ChatLinesOptions): LineSource {
    const lines = createInterface({ input, output, terminal: true });
    lines.on("SIGINT", onInterrupt);
    const received = queueOf(lines);
    return {
        read: async (prompt) => {
            lines.setPrompt(prompt);
            lines.prompt();
            return await received();
        },
        close: () => lines.close()
    };
}

/** Lines in order of arrival: a pasted text has several before the chat wants them. */
function queueOf(lines: Interface): () => Promise<string | undefined> {
    const waiting: string[] = [];
    let isClosed = false;
    let wake = () => {};
    lines.on("line", (line) => {
        waiting.push(line);
        wake();
    });
    lines.on("close", () => {
        isClosed = true;
        wake();
    });
    return async () => {
        while (waiting.length === 0 && !isClosed)
            await new Promise<void>((resolve) => {
                wake = resolve;
            });
        return waiting.shift();
    };
}
