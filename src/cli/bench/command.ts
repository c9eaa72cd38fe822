import type { Argv, CommandModule } from "yargs";
import { precisions, products } from "../../../plugin/native/enums.js";
import { shapeNames } from "../../bench/shapes.js";
import { weightTypes } from "../../bench/synthetic.js";
import { addGpuOption } from "../shared/gpu-option.js";
import { withInterrupt } from "../shared/interrupt.js";
import { checkNumber } from "../shared/numbers.js";
import { typedOptions } from "../shared/typed-options.js";
import type { BenchOptions } from "./options.js";

export const command: CommandModule<object, BenchOptions> = {
    command: "bench",
    describe: "Measure time and memory by length: full attention, and ARMT's schedules",
    builder: (parser: Argv<object>) => {
        addGpuOption(parser);
        return typedOptions(
            parser
                .option("model", { alias: "m", type: "string", describe: "ARMT model file (.gguf)" })
                .option("synthetic", {
                    choices: shapeNames,
                    describe: "Make a model with random weights of this shape [default: 15m]"
                })
                .option("layers", { type: "number", describe: "Layers of the random model [default: the shape's]" })
                .option("type", {
                    choices: weightTypes,
                    default: "f16" as const,
                    describe: "Weights of the random model"
                })
                .option("mem-tokens", { type: "number", describe: "Memory tokens of the random model [default: 16]" })
                .option("lengths", { type: "string", default: "2k,8k", describe: "Tokens to read, e.g. 4k,16k,128k" })
                .option("segments", { type: "string", default: "512", describe: "Tokens in a segment, e.g. 256,1024" })
                .option("runs", { type: "number", default: 5, describe: "Rounds; every case runs once in each" })
                .option("schedule", {
                    choices: ["both", "sequential", "diagonal"] as const,
                    default: "both" as const,
                    describe: "ARMT's schedules to measure"
                })
                .option("stock", {
                    type: "boolean",
                    default: true,
                    describe: "Also measure full attention of the same base model; --no-stock turns it off"
                })
                .option("stock-limit", { type: "string", describe: "Skip full attention for longer texts, e.g. 32k" })
                .option("stock-library", {
                    choices: ["published", "engine"] as const,
                    default: "published" as const,
                    describe:
                        "The llama.cpp that runs full attention: node-llama-cpp's, or this package's build with its " +
                        "own GPU backend"
                })
                .option("decode", {
                    type: "boolean",
                    default: false,
                    describe: "Also measure generation, with 1 and 8 sequences"
                })
                .option("prompts", {
                    type: "boolean",
                    default: true,
                    describe: "Measure reading; --no-prompts leaves only --decode and --documents"
                })
                .option("threads", { type: "number", describe: "CPU threads [default: the usable cores]" })
                .option("batch-size", {
                    type: "number",
                    describe:
                        "Tokens passed to the engine at once [default: 512, on a GPU 8192, or the largest segment]"
                })
                .option("stock-batch-size", {
                    type: "number",
                    describe: "Batch size of full attention [default: --batch-size, on a GPU 512]"
                })
                .option("max-cells", {
                    type: "number",
                    describe: "Maximum number of cells in one product of the diagonal [default: chosen by the engine]"
                })
                .option("precision", {
                    choices: precisions,
                    describe: "fp8: also measure ARMT with its layers' matrices in e4m3, side by side [default: auto]"
                })
                .option("fp8-products", {
                    type: "string",
                    describe: `With --precision fp8: its products, some of ${products.join(",")} [default: all but o]`
                })
                .option("documents", {
                    type: "number",
                    describe: "Also measure this many documents of 4 to 16 segments, in turn and together, e.g. 8"
                })
                .option("texts-per-layer", {
                    type: "string",
                    describe:
                        "With --documents: how many enter the diagonal together, e.g. 1,2,4 [default: chosen by the " +
                        "engine]"
                })
                .option("json", {
                    type: "string",
                    default: "armt-bench.json",
                    describe: "File for all results, written after each length and segment size"
                })
                .option("plot", { type: "string", describe: "SVG file [default: next to the JSON file]" })
                .option("resume", {
                    type: "boolean",
                    default: false,
                    describe: "Keep the results in the JSON file and measure the rest"
                })
                .option("force", { type: "boolean", default: false, describe: "Replace the JSON file" })
                .option("cache-folder", {
                    type: "string",
                    describe: "Folder for random models, which stay for the next run [default: a temporary one]"
                })
                .conflicts("model", ["synthetic", "layers", "mem-tokens"])
                .example("$0 bench --lengths 1k,2k --segments 256", "A random model of 15 M parameters")
                .example("$0 bench --synthetic llama-3.2-1b --gpu cuda --lengths 4k,128k --type bf16", "On a GPU")
        );
    },
    handler: async (options) => {
        for (const name of ["layers", "mem-tokens", "threads", "batch-size", "stock-batch-size", "max-cells"] as const)
            checkNumber(name, (options as unknown as Record<string, unknown>)[name], { min: 1 });
        checkNumber("runs", options.runs, { min: 1 });
        checkNumber("documents", options.documents, { min: 1, max: 64 });
        const { bench } = await import("./run.js");
        await withInterrupt((signal) => bench(options, signal, process.stdout));
    }
};
