import process from "node:process";

/** Generic failure messages of llama.cpp, which follow the one with the reason. */
const generic = /failed to (load model|initialize the context)$|failed to create (context|llama_context)/i;

/**
 * Takes in llama.cpp's log: on standard error with `verbose`, else kept for the reason of a failure, so that an error
 * stays one line.
 */
export class NativeLog {
    private lastReason = "";

    constructor(private readonly verbose: boolean) {}

    readonly logger = (_level: string, message: string): void => {
        const text = message.trim();
        if (this.verbose) process.stderr.write(`${text}\n`);
        // "llama_model_load: error loading model: …": the function's name is of no use to the reader
        else if (text !== "" && !generic.test(text)) this.lastReason = text.split("\n", 1)[0]!.replace(/^\w+: /, "");
    };

    /** The error's message, and llama.cpp's reason if it logged one. */
    explain(error: unknown): string {
        const message = error instanceof Error ? error.message : String(error);
        return this.lastReason === "" ? message : `${message}: ${this.lastReason}`;
    }
}
