import { createInterface, type Interface } from "node:readline";
import type { Readable, Writable } from "node:stream";

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

/** Reads messages line by line. A line that ends with a backslash continues on the next one. */
export function openLines({ input, output, onInterrupt }: ChatLinesOptions): ChatLines {
    const terminal = input.isTTY === true;
    const lines = createInterface({ input, output: terminal ? output : undefined, terminal });
    lines.on("SIGINT", onInterrupt);
    const received = queueOf(lines);
    const read = async (prompt: string) => {
        if (terminal) {
            lines.setPrompt(prompt);
            lines.prompt();
        }
        return await received();
    };
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
        close: () => lines.close()
    };
}

/** Lines in order of arrival: a pipe may send them before the chat wants them. */
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
