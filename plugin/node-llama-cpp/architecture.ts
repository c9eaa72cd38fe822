import type { Llama } from "node-llama-cpp";
import { llamaInternals } from "./internals.js";

/** Whether the libllama in use knows an architecture. */
export function knowsArchitecture(llama: Llama, architecture: string): boolean {
    return llamaInternals(llama)._bindings.getIsArchSupported(architecture);
}
