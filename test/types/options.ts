import type {
    ArmtContextOptions,
    ArmtFeedOptions,
    ArmtMemoryStoreOptions,
    ArmtPrefillOptions,
    ArmtSequenceSaveOptions,
    ArmtSnapshotOptions,
    LlamaModel
} from "../../plugin/index.js";
import { ArmtMemoryStore } from "../../plugin/index.js";
import { accepts } from "./accepts.js";

// Which options compile. `tsc` reports each expected error that is missing.

declare const model: LlamaModel;
declare const signal: AbortSignal;

export async function contextOptions() {
    await model.createContext();
    await model.createContext({ sequences: 2, armt: {} });
    await model.createContext({ armt: { schedule: "auto", memoryStore: await ArmtMemoryStore.open() } });
    accepts<ArmtContextOptions>({
        schedule: "diagonal",
        segmentSize: 512,
        maxCells: 8,
        textsPerLayer: 2,
        stateType: "bf16",
        precision: "fp8",
        fp8Products: ["gate_up", "down"]
    });
    accepts<ArmtContextOptions>({ segmentOverflow: "extend", openSegmentLimit: 1024 });
    accepts<ArmtContextOptions>({ onProgress: ({ tokensDone, tokensTotal }) => void (tokensDone / tokensTotal) });
    accepts<ArmtContextOptions>({ schedule: undefined, memoryStore: undefined });

    // @ts-expect-error a misspelled schedule
    accepts<ArmtContextOptions>({ schedule: "diagonall" });
    // @ts-expect-error the engine's number of a schedule
    accepts<ArmtContextOptions>({ schedule: 1 });
    // @ts-expect-error a misspelled option
    accepts<ArmtContextOptions>({ sgementSize: 512 });
    // @ts-expect-error a number as text
    accepts<ArmtContextOptions>({ segmentSize: "512" });
    // @ts-expect-error no overflow of that name
    accepts<ArmtContextOptions>({ segmentOverflow: "drop" });
    // @ts-expect-error null is not a number
    accepts<ArmtContextOptions>({ openSegmentLimit: null });
    // @ts-expect-error the memory is never quantized
    accepts<ArmtContextOptions>({ stateType: "q8_0" });
    // @ts-expect-error products have names, not a number of bits
    accepts<ArmtContextOptions>({ precision: "fp8", fp8Products: 15 });
    // @ts-expect-error progress has no percentage
    accepts<ArmtContextOptions>({ onProgress: ({ percent }) => void percent });
    // @ts-expect-error the options of a store are not a store
    accepts<ArmtContextOptions>({ memoryStore: { folder: "memories" } });
    // @ts-expect-error a schedule is not an object of options
    await model.createContext({ armt: "diagonal" });
    // @ts-expect-error the options of ARMT belong under `armt`
    await model.createContext({ segmentSize: 512 });
}

export async function storeOptions(store: ArmtMemoryStore) {
    accepts<ArmtMemoryStoreOptions>({ folder: "memories", maxBytes: 2 ** 30, maxMemoryBytes: 0 });
    accepts<ArmtMemoryStoreOptions>({ checkpointInterval: 512, onWarning: ({ message }) => console.error(message) });

    // @ts-expect-error a size with a unit
    accepts<ArmtMemoryStoreOptions>({ maxBytes: "2 GiB" });
    // @ts-expect-error a folder is a path
    accepts<ArmtMemoryStoreOptions>({ folder: new URL("file:///memories") });
    // @ts-expect-error a misspelled option
    accepts<ArmtMemoryStoreOptions>({ maxByte: 2 ** 30 });
    // @ts-expect-error a store is opened, not constructed
    new ArmtMemoryStore();
    // @ts-expect-error counts are read-only
    store.stats.hits = 0;
}

export function sequenceOptions() {
    accepts<ArmtSnapshotOptions>({ closedOnly: true, signal });
    accepts<ArmtSequenceSaveOptions>({ closedOnly: true, tokenIds: false, signal });
    accepts<ArmtFeedOptions>({
        keepTokens: 0,
        signal,
        onProgress: ({ tokens, characters }) => void [tokens, characters]
    });
    accepts<ArmtPrefillOptions>({ signal, onProgress: ({ tokensDone }) => void tokensDone });

    // @ts-expect-error `snapshot` always copies the ids; only `save` can leave them out
    accepts<ArmtSnapshotOptions>({ tokenIds: false });
    // @ts-expect-error a controller is not its signal
    accepts<ArmtSnapshotOptions>({ signal: new AbortController() });
    // @ts-expect-error a source needs the checksum of its text
    accepts<ArmtSequenceSaveOptions>({ source: { name: "book.txt", characters: 10, complete: true } });
    // @ts-expect-error a number of tokens, not a flag
    accepts<ArmtFeedOptions>({ keepTokens: true });
    // @ts-expect-error a feed does not know its total length
    accepts<ArmtFeedOptions>({ onProgress: ({ tokensTotal }) => void tokensTotal });
}
