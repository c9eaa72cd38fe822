import { setTimeout } from "node:timers/promises";
import type { LlamaContext } from "node-llama-cpp";
import { ArmtNativeError } from "../errors.js";
import type { ArmtAddon, NativeContextOptions } from "./addon.js";
import { EngineContext } from "./EngineContext.js";

/** Time between two attempts while another `Worker` thread creates a context. Unit: milliseconds. */
const waitForOtherThreads = 5;

/** The last creation of each addon. The engine reads the options from one place, so contexts are created one by one. */
const creations = new WeakMap<ArmtAddon, Promise<void>>();

/**
 * Creates a context with the engine's options set, and finds the id that the engine gave it.
 * @throws {RangeError} for options that the engine refuses
 * @throws {ArmtNativeError} if the engine refuses the model, or if another libllama created the context
 */
export async function createNativeContext(
    addon: ArmtAddon,
    options: NativeContextOptions,
    create: () => Promise<LlamaContext>
): Promise<{ context: LlamaContext; engine: EngineContext }> {
    const previous = creations.get(addon) ?? Promise.resolve();
    const creation = previous.then(() => createNext(addon, options, create));
    const done = () => {};
    creations.set(addon, creation.then(done, done));
    return await creation;
}

async function createNext(
    addon: ArmtAddon,
    options: NativeContextOptions,
    create: () => Promise<LlamaContext>
): Promise<{ context: LlamaContext; engine: EngineContext }> {
    while (!addon.beginCreation()) await setTimeout(waitForOtherThreads);
    try {
        return await createWithOptions(addon, options, create);
    } finally {
        addon.endCreation();
    }
}

async function createWithOptions(
    addon: ArmtAddon,
    options: NativeContextOptions,
    create: () => Promise<LlamaContext>
): Promise<{ context: LlamaContext; engine: EngineContext }> {
    const before = addon.lastContextId();
    setContextOptions(addon, options);
    let context: LlamaContext;
    try {
        context = await create();
    } catch (error) {
        // node-llama-cpp first estimates sizes with these options, and reports a failure there as a lack of memory
        const reason = addon.lastError(0);
        if (!(error instanceof Error) || reason === "") throw error;
        throw new ArmtNativeError(reason, { cause: error });
    } finally {
        addon.setContextOptions(null);
    }
    const id = addon.lastContextId();
    if (id === 0 || id === before) {
        await context.dispose();
        throw new ArmtNativeError(
            "the context was created by another libllama than the one with the ARMT engine; run `npx armt doctor`"
        );
    }
    return { context, engine: new EngineContext(addon, id) };
}

function setContextOptions(addon: ArmtAddon, options: NativeContextOptions): void {
    try {
        addon.setContextOptions(options);
    } catch (error) {
        throw new RangeError(error instanceof Error ? error.message : String(error), { cause: error });
    }
}
