import process from "node:process";

/** Generic failure messages of llama.cpp. They follow the message with the reason. */
const generic = /failed to (load model|initialize the context)$|failed to create (context|llama_context)/i;

/**
 * Receives llama.cpp's log. With `verbose`, it goes to standard error. Otherwise only the reason of a failure is kept,
 * so that an error stays on one line.
 */
export class NativeLog {
    private lastReason = "";

    constructor(private readonly verbose: boolean) {}

    readonly logger = (_level: string, message: string): void => {
        const text = message.trim();
        if (this.verbose) process.stderr.write(`${text}\n`);
        // "llama_model_load: error loading model: …" begins with a function's name, which does not help the reader
        else if (text !== "" && !generic.test(text)) this.lastReason = text.split("\n", 1)[0]!.replace(/^\w+: /, "");
    };

    /** The error's message, plus llama.cpp's reason if it logged one. */
    explain(error: unknown): string {
        const message = error instanceof Error ? error.message : String(error);
        return this.lastReason === "" ? message : `${message}: ${this.lastReason}`;
    }
}
