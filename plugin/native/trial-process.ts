import process from "node:process";
import { getLlama, LlamaLogLevel } from "node-llama-cpp";

// Starts a variant of node-llama-cpp and prints the names of its devices. `trial.ts` runs this in a process of its own.
// It is a file, since node-llama-cpp starts processes with the same arguments for Node.
const [gpu] = process.argv.slice(2);
const llama = await getLlama({
    gpu: gpu as "cuda" | "vulkan" | "metal",
    build: "never",
    progressLogs: false,
    logLevel: LlamaLogLevel.disabled,
    maxThreads: 1
});
if (llama.gpu !== gpu) throw new Error(`node-llama-cpp started ${llama.gpu || "the CPU variant"} instead of ${gpu}`);
process.stdout.write(JSON.stringify(await llama.getGpuDeviceNames()));
await llama.dispose();
