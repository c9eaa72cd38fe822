import type { ArmtModelInfo, LlamaContext, LlamaContextSequence, LlamaModel, Token } from "../../plugin/index.js";
import { ArmtModelError, ArmtSnapshot } from "../../plugin/index.js";
import { accepts } from "./accepts.js";

// How models, contexts, sequences and snapshots may be used. `tsc` reports each expected error that is missing.

declare const model: LlamaModel;
declare const context: LlamaContext;
declare const sequence: LlamaContextSequence;
declare const tokens: Token[];

export function plainModels() {
    accepts<number | undefined>(model.armt?.segmentSize);
    accepts<string | undefined>(context.armt?.schedule);
    accepts<number | undefined>(sequence.armt?.tokens);
    if (model.armt !== undefined) accepts<ArmtModelInfo>(model.armt);

    // @ts-expect-error a plain model has no info
    accepts<number>(model.armt.segmentSize);
    // @ts-expect-error a context of a plain model has no `armt`
    accepts<number>(context.armt.memoryBytes);
    // @ts-expect-error a sequence of a plain model has no `armt`
    accepts<number>(sequence.armt.tokens);
    // @ts-expect-error the absence of `armt` is undefined, never null
    accepts<ArmtModelInfo | null>(model.armt);
}

export function readOnly() {
    const armt = sequence.armt!;
    // @ts-expect-error what the file says cannot be changed
    model.armt!.segmentSize = 512;
    // @ts-expect-error `armt` itself cannot be replaced
    sequence.armt = undefined;
    // @ts-expect-error counts come from the engine
    armt.tokens = 0;
    // @ts-expect-error a schedule is chosen when the context is created
    context.armt!.schedule = "diagonal";
    // @ts-expect-error "auto" is resolved in a context
    accepts<"auto">(context.armt!.schedule);
}

export async function sequences() {
    const armt = sequence.armt!;
    accepts<Float32Array>((await armt.readMemory(0)).a);
    for await (const logits of armt.evaluateLogits(tokens)) accepts<Float32Array>(logits);
    await armt.feed(["text", tokens]);
    accepts<LlamaContextSequence>(await armt.fork());

    // @ts-expect-error a model may have no z
    accepts<Float32Array>((await armt.readMemory(0)).z);
    // @ts-expect-error layers have numbers
    await armt.readMemory("0");
    // @ts-expect-error text has to be tokenized first
    armt.evaluateLogits("text");
    // @ts-expect-error ids have to be tokens
    armt.evaluateLogits([1, 2, 3]);
    // @ts-expect-error a source gives text or ids, not bytes
    await armt.feed([new Uint8Array(4)]);
    // @ts-expect-error a reason is required
    armt.cancelEvaluation();
}

export async function snapshots() {
    const armt = sequence.armt!;
    using snapshot = await armt.snapshot({ closedOnly: true });
    await armt.restore(snapshot);
    accepts<number>(await snapshot.save("book.armt"));
    accepts<string | undefined>(snapshot.source?.name);

    // @ts-expect-error a path is loaded, not restored
    await armt.restore("book.armt");
    // @ts-expect-error the header of a file is not a snapshot
    await armt.restore(await ArmtSnapshot.inspect("book.armt"));
    // @ts-expect-error `save` needs a path
    await snapshot.save();
    // @ts-expect-error a snapshot does not change
    snapshot.tokensRead = 0;
    // @ts-expect-error not every snapshot has a source
    accepts<string>(snapshot.source.name);
}

export function errors(error: unknown) {
    if (!(error instanceof ArmtModelError)) return;
    accepts<string | undefined>(error.key);
    // @ts-expect-error not every fault is in a key
    accepts<string>(error.key);
}
