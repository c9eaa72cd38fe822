import type { ArmtMemoryStore } from "../memory/ArmtMemoryStore.js";
import type { DecodeRequest } from "../node-llama-cpp/decode.js";

/** A read of tokens into one sequence, whose lock the caller holds. */
export interface ReadRequest extends DecodeRequest {
    /** The store to use instead of the context's; null for none. */
    readonly memoryStore?: ArmtMemoryStore | null;
    /** Tokens of the sequence after which the store should keep a memory. Default: only where the store chooses to. */
    readonly checkpointsAt?: readonly number[];
    /** Whether more of the prompt follows. It is then cut from the left, whatever the model's alignment. */
    readonly isPart?: boolean;
}
