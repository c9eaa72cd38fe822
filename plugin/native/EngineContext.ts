import { DisposedError } from "node-llama-cpp";
import { ArmtEvalError } from "../errors.js";
import type { ArmtAddon, NativeContextInfo, NativeReadPart, NativeReadResult } from "./addon.js";

/** One context as the engine sees it: the addon, and the id under which the engine registered the context. */
export class EngineContext {
    constructor(
        readonly addon: ArmtAddon,
        readonly id: number
    ) {}

    /** @throws {DisposedError} after the context is disposed */
    get info(): NativeContextInfo {
        const info = this.addon.contextInfo(this.id);
        if (info === undefined) throw new DisposedError();
        return info;
    }

    /** Why the last evaluation of a sequence failed, once; undefined if it did not. */
    takeSequenceError(sequenceId: number): ArmtEvalError | undefined {
        const reason = this.addon.sequenceError(this.id, sequenceId);
        return reason === "" ? undefined : new ArmtEvalError(reason);
    }

    /** Reads tokens whose logits nobody wants, through the addon. The caller holds the context's lock. */
    async read(parts: readonly NativeReadPart[], batchSize: number, limitMs: number): Promise<NativeReadResult> {
        return await this.addon.read(this.id, parts, batchSize, limitMs);
    }

    /** Ends the running `read` after its current batch. */
    interrupt(): void {
        this.addon.interruptRead(this.id);
    }

    /** The engine's last message about this context; empty without one. */
    get lastError(): string {
        return this.addon.lastError(this.id);
    }
}
