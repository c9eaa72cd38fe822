// `npm run demo`: makes a tiny model, converts it and lets it read a text over many segments, with the commands that a user would type.

import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";

const cli = fileURLToPath(new URL("cli/main.js", import.meta.url));
const folder = mkdtempSync(path.join(os.tmpdir(), "armt-demo-"));
const text = Array.from({ length: 400 }, (_, i) => `Line ${i}: the lamp is in room ${(i * 7) % 31}.`).join("\n");

function armt(...args: string[]): void {
    process.stdout.write(`\n$ armt ${args.join(" ")}\n`);
    const { status } = spawnSync(process.execPath, [cli, ...args], { cwd: folder, stdio: "inherit" });
    if (status !== 0) throw new Error(`armt ${args[0]} ended with exit code ${status}`);
}

try {
    writeFileSync(path.join(folder, "log.txt"), text);
    armt("tiny", "checkpoint");
    armt("convert", "checkpoint", "tiny.gguf");
    armt("inspect", "tiny.gguf");
    // so small a model gives a second thread nothing to do but wait
    for (const schedule of ["sequential", "diagonal"])
        armt(
            "run",
            "tiny.gguf",
            "-f",
            "log.txt",
            "--no-cache",
            "--threads",
            "1",
            "--max-tokens",
            "24",
            "--schedule",
            schedule
        );
    process.stdout.write(
        "\nBoth schedules wrote the same text. It is noise, since the weights are random: convert a trained checkpoint to get sense.\n"
    );
} finally {
    rmSync(folder, { recursive: true, force: true });
}
