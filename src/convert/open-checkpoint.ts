import { ArmtError, quote } from "../util/errors.js";
import type { JsonFile } from "../util/json-file.js";
import { type ArmtConfig, type ArmtFlags, type ArmtHints, parseArmtConfig, parseMixinConfig } from "./armt-config.js";
import { type BaseConfig, parseBaseConfig } from "./base-config.js";
import { Checkpoint, type SourceTensor, sameContents } from "./checkpoint.js";
import { type CheckpointConfigs, type CheckpointSource, readConfigs } from "./configs.js";
import { families } from "./families.js";
import { LoraConfig, type LoraFlags } from "./lora/lora.js";
import { describePublished, differsFromPublished, findPublished } from "./published.js";

export type OpenOptions = CheckpointSource & {
    /** Values that `armt_config.json` lacks, or overrides for it. */
    flags?: ArmtFlags;
    /** Values that `adapter_config.json` lacks, or overrides for it. */
    lora?: LoraFlags;
    /** Values to use if the file, the flags and the weights give none. */
    hints?: ArmtHints;
    onWarning?: (message: string) => void;
};

/** A checkpoint, with everything that its files and the options say about it. */
export type OpenCheckpoint = {
    configs: CheckpointConfigs;
    base: BaseConfig;
    armt: ArmtConfig;
    weights: Checkpoint;
};

/** @throws {ArmtError} that names the file, key, option or tensor at fault */
export async function openCheckpoint(options: OpenOptions): Promise<OpenCheckpoint> {
    const configs = await readConfigs(options);
    let base = parseBaseConfig(configs.base);
    const family = families[base.architecture];
    if (configs.isClassConfig && family.positions === "learned") checkPositions(configs.armt!);
    const weights = await Checkpoint.open(options.checkpoint, {
        lora: new LoraConfig(configs.adapter, options.lora, configs.folder),
        isTransposed: (canonical) => family.transposed && /^layers\.\d+\.layer\./.test(canonical)
    });
    try {
        if (options.base !== undefined) base = withVocabularyOf(weights, base, options.onWarning);
        const hints = { ...options.hints, ...hintsOf(weights.tensors, base) };
        if (configs.isClassConfig) hints.normalizeKeys ??= true; // all code with the class normalizes keys
        if (configs.mixin !== undefined) takeMixinHints(configs.mixin, hints, options);
        const published = findPublished(weights.tensors, base);
        const armt = parseArmtConfig(configs.armt, options.flags ?? {}, hints, {
            isClassConfig: configs.isClassConfig,
            suggestion: published === undefined ? undefined : describePublished(published)
        });
        if (published !== undefined && differsFromPublished(published, armt))
            options.onWarning?.(`the ${describePublished(published)}`);
        await checkTie(weights, base);
        return { configs, base, armt, weights };
    } catch (error) {
        await weights.close();
        throw error;
    }
}

/** Properties of the memory that follow from the tensors' shapes. */
function hintsOf(tensors: ReadonlyMap<string, SourceTensor>, base: BaseConfig): ArmtHints {
    const hints: ArmtHints = {};
    const betaCount = tensors.get("layers.0.W_mb.weight")?.shape[0];
    if (betaCount !== undefined && betaCount > 0) {
        if (betaCount === base.hiddenSize) hints.gating = true;
        else hints.headCount = betaCount;
    }
    const { positions } = families[base.architecture].names;
    const rows = tensors.get(`${positions}.weight`)?.shape[0];
    const memoryTokens = tensors.get("memory")?.shape[0] ?? 0;
    if (rows !== undefined && base.positionCount !== undefined && memoryTokens > 0)
        hints.wrapPositions = rows === base.positionCount + memoryTokens;
    return hints;
}

/** Keys that only the newest class has. Its positions run on through the segments up to the end of the table. */
const newestKeys = ["model_dtype", "memory_dtype", "attn_implementation", "base_attn_implementation"];

function checkPositions(json: JsonFile): void {
    const key = newestKeys.find((name) => json.get(name) !== undefined);
    if (key === undefined) return;
    throw new ArmtError(
        `${quote(json.path)}: \`${key}\` shows that the newest ARMTForCausalLM trained it, in which learned ` +
            "positions run on from segment to segment: not supported; convert a checkpoint of an earlier class"
    );
}

/** Values that the authors' wrapper saves about itself. They are taken aloud, since the file is no ARMT config. */
function takeMixinHints(json: JsonFile, hints: ArmtHints, { flags, onWarning }: OpenOptions): void {
    const { segmentSize, segmentAlignment } = parseMixinConfig(json);
    if (segmentSize !== undefined && flags?.segmentSize === undefined) {
        hints.segmentSize ??= segmentSize;
        onWarning?.(`the segment size is ${segmentSize}, from ${quote(json.path)}`);
    }
    hints.segmentAlignment ??= segmentAlignment;
}

/** Takes the vocabulary size from the weights, which may have more tokens than the config of --base. */
function withVocabularyOf({ tensors }: Checkpoint, base: BaseConfig, onWarning: OpenOptions["onWarning"]): BaseConfig {
    const { embedding, output } = families[base.architecture].names;
    const rows = (tensors.get(`${embedding}.weight`) ?? tensors.get(`${output}.weight`))?.shape[0];
    if (rows === undefined || rows === base.vocabSize) return base;
    onWarning?.(`the weights have ${rows} tokens, the config of --base ${base.vocabSize}: the weights decide`);
    return { ...base, vocabSize: rows };
}

/** If config.json ties the output to the embedding, a second matrix in the file must be equal to the first. */
async function checkTie({ tensors }: Checkpoint, { architecture, tiedEmbeddings }: BaseConfig): Promise<void> {
    const { names } = families[architecture];
    const embedding = tensors.get(`${names.embedding}.weight`);
    const output = tensors.get(`${names.output}.weight`);
    if (tiedEmbeddings !== true || embedding === undefined || output === undefined) return;
    if (!(await sameContents(embedding, output)))
        throw new ArmtError(
            `${quote(output.name)} differs from ${quote(embedding.name)}, but config.json has ` +
                "`tie_word_embeddings`: true"
        );
}
