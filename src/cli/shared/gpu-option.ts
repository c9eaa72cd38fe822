import type { Argv } from "yargs";
import { gpuChoices, readGpuChoice } from "../../model/gpu.js";
import { groups } from "./option-groups.js";

/** Adds the `--gpu` option, which every command that runs a model has. */
export function addGpuOption(parser: Argv<object>): void {
    parser.option("gpu", {
        choices: gpuChoices,
        group: groups.computing,
        coerce: readGpuChoice,
        describe: "GPU to use; off: the CPU [default: NODE_LLAMA_CPP_GPU, or off]"
    });
}
