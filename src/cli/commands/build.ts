import process from "node:process";
import { SingleBar } from "cli-progress";
import type { CommandModule } from "yargs";
import { importBuildModule } from "../../../plugin/engine.js";
import { typedOptions } from "../typed-options.js";

interface BuildCommandOptions {
    force: boolean;
}

export const command: CommandModule<object, BuildCommandOptions> = {
    command: "build",
    describe: "Build the engine: libllama with ARMT, and the addon that loads it",
    builder: (parser) => {
        return typedOptions(
            parser.option("force", { type: "boolean", default: false, describe: "Start from nothing" })
        );
    },
    handler: async ({ force }) => {
        const { build } = await importBuildModule();
        const format = "compiling {bar} {percentage}%";
        const bar = new SingleBar({ format, stream: process.stderr, clearOnComplete: true, hideCursor: true });
        const started = performance.now();
        try {
            const { built, library } = await build({
                force,
                onStep: (line) => {
                    bar.stop();
                    process.stderr.write(`${line}\n`);
                },
                onProgress: (percent) => {
                    if (!process.stderr.isTTY) return;
                    if (!bar.isActive) bar.start(100, 0);
                    bar.update(percent);
                }
            });
            const seconds = ((performance.now() - started) / 1000).toFixed(1);
            process.stdout.write(`${library}: ${built ? `built in ${seconds} s` : "up to date"}\n`);
        } finally {
            bar.stop();
        }
    }
};
