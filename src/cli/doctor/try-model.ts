import { execFile } from "node:child_process";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { Variant } from "../../../native/build.mjs";
import { getLlama, type Token } from "../../../plugin/index.js";
import { gpuTitles } from "../../../plugin/native/variants.js";
import { recallModelPath } from "../../model/embedded-model.js";

/**
 * Reads and asks with the included model, as `armt read` and `armt ask` do.
 * @returns undefined if the answer is right, or what is wrong
 */
export async function tryModel(variant: Variant): Promise<string | undefined> {
    const llama = await getLlama({ gpu: variant, build: "never", maxThreads: 1, progressLogs: false });
    try {
        // asked for a GPU that the platform cannot have, node-llama-cpp takes another variant
        if (variant !== false && llama.gpu !== variant) return `runs with ${titleOf(llama.gpu)} instead`;
        const model = await llama.loadModel({ modelPath: recallModelPath });
        const sequence = (await model.createContext({ threads: 1 })).getSequence();
        await sequence.armt!.feed("Then the wallet was carried to the tower.");
        const { before = "", after = "" } = model.armt!.ask ?? {};
        const question = model.tokenize(`${before}Where is the wallet?${after}`);
        await sequence.armt!.startQuestion(question);
        const answer: Token[] = [];
        for await (const token of sequence.evaluate(question, { temperature: 0 })) {
            answer.push(token);
            if (answer.length === 4) break;
        }
        const text = model.detokenize(answer).trim();
        return text.startsWith("tower") ? undefined : `answers ${JSON.stringify(text)} instead of "tower"`;
    } finally {
        await llama.dispose();
    }
}

function titleOf(variant: Variant): string {
    return variant === false ? "the CPU" : gpuTitles[variant];
}

/** Longest time for a GPU, in milliseconds. Its driver compiles all kernels at the first run. */
const timeout = 300_000;

/**
 * The same in a process of its own: a process has one engine, and a driver that crashes ends only that process.
 * @returns undefined if the answer is right, or what is wrong
 */
export async function tryModelApart(
    variant: Variant,
    environment: NodeJS.ProcessEnv = process.env
): Promise<string | undefined> {
    const script = fileURLToPath(new URL("try-model-process.js", import.meta.url));
    try {
        const { stdout } = await promisify(execFile)(process.execPath, [script, JSON.stringify(variant)], {
            env: environment,
            timeout,
            windowsHide: true
        });
        const { problem }: { problem?: string } = JSON.parse(stdout);
        return problem;
    } catch (error) {
        const { killed, signal, code } = error as { killed?: boolean; signal?: string; code?: number | string };
        if (killed) return `does not answer within ${timeout / 1000} seconds`;
        return `ends its process with ${signal ?? `exit code ${code}`}; check the GPU's driver`;
    }
}
