import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import test, { type ExecutionContext } from "ava";
import { ArmtError, getLlama, LlamaLogLevel, type Token } from "../../plugin/index.js";
import { convertCheckpoint } from "../../src/convert/convert.js";
import { verifyFingerprint } from "../../src/formats/gguf/fingerprint.js";
import { type GgufFile, openGguf } from "../../src/formats/gguf/reader.js";
import { type GgufWriteValue, writeGguf } from "../../src/formats/gguf/writer.js";
import { makeTinyCheckpoint } from "../../src/tiny/checkpoint.js";
import { temporaryFolder } from "../helpers/temporary.js";
import { textIds } from "../helpers/tokens.js";

const digests = /^armt\.(fingerprint|head_digest)$/;
const text = textIds(40, 96) as Token[];

async function tinyFile(t: ExecutionContext): Promise<string> {
    const folder = temporaryFolder(t);
    await makeTinyCheckpoint(folder, { layers: 1, hidden: 32, vocab: 96, tokenizer: false });
    const output = path.join(folder, "model.gguf");
    await convertCheckpoint({ checkpoint: folder, output, tokenizer: false });
    return output;
}

/** Copies a model file with other metadata. */
async function rewrite(
    from: string,
    change: (metadata: Map<string, GgufWriteValue>) => void,
    fingerprint = true
): Promise<string> {
    const file = await openGguf(from);
    const metadata = new Map<string, GgufWriteValue>();
    for (const [key, value] of file.metadata) {
        if (digests.test(key)) continue;
        metadata.set(key, value.type === "ARRAY" ? { ...value, bytes: await file.readArrayBytes(key) } : value);
    }
    change(metadata);
    const tensors = tensorsOf(file);
    const output = `${from}.${metadata.size}${fingerprint}.gguf`;
    await writeGguf(output, { metadata, tensors, fingerprint });
    await file.close();
    return output;
}

function tensorsOf(file: GgufFile) {
    return [...file.tensors].map(([name, { type, shape }]) => ({
        name,
        type: type.name,
        shape,
        data: async function* () {
            yield await file.readTensor(name);
        }
    }));
}

/** The same model as version 0.1 wrote it, with a fingerprint of the whole file. */
async function olderFile(from: string): Promise<{ file: string; fingerprint: string }> {
    const blank = "0".repeat(64);
    const file = await rewrite(
        from,
        (metadata) => metadata.set("armt.fingerprint", { type: "STRING", value: blank }),
        false
    );
    const bytes = readFileSync(file);
    const fingerprint = createHash("sha256").update(bytes).digest("hex");
    bytes.write(fingerprint, bytes.indexOf(blank), "latin1");
    writeFileSync(file, bytes);
    return { file, fingerprint };
}

let llama: ReturnType<typeof getLlama> | undefined;

async function open(t: ExecutionContext, modelPath: string) {
    llama ??= getLlama({ gpu: false, build: "never", maxThreads: 1, logLevel: LlamaLogLevel.error });
    const model = await (await llama).loadModel({ modelPath });
    const context = await model.createContext({ threads: 1 });
    t.teardown(async () => {
        await context.dispose();
        await model.dispose();
    });
    return { model, sequence: context.getSequence() };
}

async function saveMemory(t: ExecutionContext, model: string): Promise<string> {
    const { sequence } = await open(t, model);
    await sequence.evaluateWithoutGeneratingNewTokens(text);
    const memory = `${model}.armt`;
    await sequence.armt!.save(memory);
    return memory;
}

const asked = (metadata: Map<string, GgufWriteValue>) => {
    metadata.set("general.sampling.temp", { type: "FLOAT32", value: 0.5 });
    metadata.set("tokenizer.chat_template", { type: "STRING", value: "{{ messages[0].content }}" });
    for (const key of ["chat", "close", "greedy"]) metadata.set(`armt.ask.${key}`, { type: "BOOL", value: true });
};

test("a memory fits a file whose other metadata changed, and no file with other sizes", async (t) => {
    const model = await tinyFile(t);
    const memory = await saveMemory(t, model);
    const changed = await rewrite(model, asked);
    await verifyFingerprint(changed);
    const { sequence } = await open(t, changed);
    await sequence.armt!.load(memory);
    t.is(sequence.armt!.tokens, text.length);
    const other = await rewrite(model, (metadata) =>
        metadata.set("armt.memory.correction", { type: "BOOL", value: false })
    );
    const { sequence: refusing } = await open(t, other);
    await t.throwsAsync(refusing.armt!.load(memory), { instanceOf: ArmtError, message: /belongs to another model/ });
});

test("a memory of an older file fits that file, and a new one that names its fingerprint", async (t) => {
    const model = await tinyFile(t);
    const older = await olderFile(model);
    await verifyFingerprint(older.file);
    const memory = await saveMemory(t, older.file);
    const { sequence: same } = await open(t, older.file);
    await same.armt!.load(memory);
    const { sequence: unnamed } = await open(t, model);
    await t.throwsAsync(unnamed.armt!.load(memory), { message: /--earlier-fingerprint/ });

    const output = `${model}.named.gguf`;
    const { fingerprint } = older;
    await convertCheckpoint({
        checkpoint: path.dirname(model),
        output,
        tokenizer: false,
        earlierFingerprints: [fingerprint]
    });
    const { model: loaded, sequence } = await open(t, output);
    t.deepEqual(loaded.armt!.earlierFingerprints, [fingerprint]);
    await sequence.armt!.load(memory);
    t.is(sequence.armt!.tokens, text.length);
    // saved again, it is a memory of the new file
    await sequence.armt!.save(memory);
    await unnamed.armt!.load(memory);
    t.is(unnamed.armt!.tokens, text.length);
    await t.throwsAsync(
        convertCheckpoint({
            checkpoint: path.dirname(model),
            output: `${model}.wrong.gguf`,
            tokenizer: false,
            earlierFingerprints: ["12"]
        }),
        { message: /"12" is not a fingerprint/ }
    );
});
