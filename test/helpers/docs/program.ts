import { spawnSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { repositoryRoot } from "../repository.js";
import type { Block } from "./blocks.js";

/**
 * Variables that the blocks of a page may use without defining them, since another block or the text introduces them. A
 * block that uses one and does not define it imports it.
 */
const given = `
import { createReadStream as openFile, readFileSync } from "node:fs";
import { writeFile as write } from "node:fs/promises";
import { ArmtMemoryStore as Store, getLlama as get, LlamaChatSession as Session, type Token } from "node-llama-cpp-armt";
export const createReadStream = openFile;
export const writeFile = write;
export const ArmtMemoryStore = Store;
export const getLlama = get;
export const LlamaChatSession = Session;
export const book = readFileSync("book.txt", "utf8");
export const llama = await get();
export const model = await llama.loadModel({ modelPath: "model.gguf" });
export const context = await model.createContext({ sequences: 4, threads: 1 });
export const sequence = context.getSequence();
await sequence.evaluateWithoutGeneratingNewTokens(model.tokenize(book));
export const store = await Store.open();
export const signal = new AbortController().signal;
export const controller = new AbortController();
export const onProgress = (_progress: object): void => {};
export const tokens: Token[] = model.tokenize(book);
`;
const givenNames = [...given.matchAll(/^export const (\w+)/gm)].map(([, name]) => name!);

/** A model with random weights may never end an answer, and a second thread would spin while other tests run. */
const limits = `
import { LlamaChatSession, LlamaCompletion, LlamaModel } from "node-llama-cpp";
const createContext = LlamaModel.prototype.createContext;
LlamaModel.prototype.createContext = function (options) {
    return createContext.call(this, { ...options, threads: 1 });
};
for (const [Class, method] of [[LlamaChatSession, "prompt"], [LlamaCompletion, "generateCompletion"]]) {
    const original = Class.prototype[method];
    Class.prototype[method] = function (text, options = {}) {
        return original.call(this, text, { maxTokens: 8, ...options });
    };
}
`;

/** Writes the blocks as modules of a project and compiles them with the types that users get. */
export class Program {
    constructor(
        private readonly folder: string,
        readonly blocks: readonly Block[]
    ) {
        mkdirSync(folder, { recursive: true });
        writeFileSync(path.join(folder, "package.json"), JSON.stringify({ type: "module", private: true }));
        writeFileSync(path.join(folder, "given.ts"), given);
        mkdirSync(path.join(folder, "out"));
        writeFileSync(path.join(folder, "out", "limits.js"), limits);
        writeFileSync(path.join(folder, "limits.d.ts"), "export {};\n");
        blocks.forEach((block, index) => void writeFileSync(this.file(index, "ts"), sourceOf(block)));
        const compilerOptions = {
            module: "nodenext",
            target: "es2023",
            lib: ["es2023", "esnext.disposable"],
            strict: true,
            allowJs: true,
            typeRoots: [path.join(repositoryRoot, "node_modules", "@types")],
            types: ["node"],
            skipLibCheck: true,
            outDir: "out",
            rootDir: "."
        };
        writeFileSync(path.join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions, include: ["*.ts"] }));
    }

    /** @returns the compiler's errors, with the page and line of each block */
    compile(): string {
        const tsc = path.join(repositoryRoot, "node_modules/typescript/bin/tsc");
        const { stdout } = spawnSync(process.execPath, [tsc, "-p", this.folder], { encoding: "utf8" });
        return stdout.replaceAll(/\S*?block-(\d+)\.ts\((\d+)/g, (_, index: string, line: string) => {
            const { page, line: first } = this.blocks[Number(index)]!;
            // the module has one more line at its top
            return `${page}(${first + Number(line) - 1}`;
        });
    }

    /** The compiled block. */
    script(index: number): string {
        return path.join(this.folder, "out", `block-${index}.js`);
    }

    private file(index: number, extension: string): string {
        return path.join(this.folder, `block-${index}.${extension}`);
    }
}

/** The block, with a line of imports before it and an end of the process after it. */
function sourceOf({ text }: Block): string {
    const makes = (name: string) =>
        new RegExp(`(?:const|let|function|class|import) [^=;(]*\\b${name}\\b|\\[\\s*${name}\\s*\\] =`).test(text);
    const used = givenNames.filter((name) => new RegExp(`(?<![.\\w])${name}\\b`).test(text) && !makes(name));
    const imports = used.length > 0 ? `import {${used.join(", ")}} from "./given.js";` : "";
    // not with node's --import, which processes forked by node-llama-cpp would inherit
    return `import "./limits.js"; ${imports}\n${text}\nprocess.exit(0);\nexport {};\n`;
}
