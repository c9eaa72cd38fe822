import process from "node:process";
import type { CommandModule } from "yargs";
import { importBuildModule } from "../../../plugin/native/library.js";
import { createProgressBar } from "../../util/progress.js";
import { typedOptions } from "../shared/typed-options.js";

interface BuildCommandOptions {
    force: boolean;
    gpu: "cuda" | "vulkan" | "metal" | undefined;
    tuned: boolean | undefined;
    cudaArch: string | undefined;
}

export const command: CommandModule<object, BuildCommandOptions> = {
    command: "build",
    describe: "Build the engine: libllama with ARMT, and the addon that loads it",
    builder: (parser) => {
        return typedOptions(
            parser
                .option("force", { type: "boolean", default: false, describe: "Rebuild everything" })
                .option("gpu", {
                    choices: ["cuda", "vulkan", "metal"] as const,
                    describe:
                        "Build for this GPU variant of node-llama-cpp [default: the CPU variant; Metal on a Mac with " +
                        "an ARM processor]"
                })
                .option("tuned", {
                    type: "boolean",
                    describe:
                        "With --gpu cuda: also build ggml's CUDA backend, with fused kernels [default: if the driver " +
                        "cannot run the prebuilt one]"
                })
                .option("cuda-arch", {
                    type: "string",
                    describe: "Compute capability to build --tuned for, e.g. 90 [default: that of the first GPU]"
                })
        );
    },
    handler: async ({ force, gpu, tuned, cudaArch }) => {
        const { build } = await importBuildModule();
        const bar = createProgressBar("compiling");
        const started = performance.now();
        try {
            const { built, library } = await build({
                force,
                gpu,
                tuned,
                cudaArch,
                onStep: (line) => {
                    bar.stop();
                    process.stderr.write(`${line}\n`);
                },
                onProgress: (percent) => bar.update(percent, 100)
            });
            const seconds = ((performance.now() - started) / 1000).toFixed(1);
            process.stdout.write(`${library}: ${built ? `built in ${seconds} s` : "up to date"}\n`);
        } finally {
            bar.stop();
        }
    }
};
