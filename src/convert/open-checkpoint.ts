import { ArmtError, quote } from "../util/errors.js";
import { type ArmtConfig, type ArmtFlags, type ArmtHints, parseArmtConfig } from "./armt-config.js";
import { type BaseConfig, parseBaseConfig } from "./base-config.js";
import { Checkpoint, type SourceTensor, sameContents } from "./checkpoint.js";
import { type CheckpointConfigs, type CheckpointSource, readConfigs } from "./configs.js";
import { families } from "./families.js";
import { LoraConfig, type LoraFlags } from "./lora/lora.js";

export type OpenOptions = CheckpointSource & {
    /** What `armt_config.json` lacks or what is to override it. */
    flags?: ArmtFlags;
    /** What `adapter_config.json` lacks or what is to override it. */
    lora?: LoraFlags;
    /** Values to use if neither file, flags nor weights give them. */
    hints?: ArmtHints;
    onWarning?: (message: string) => void;
};

/** A checkpoint with all that its files and the options say of it. */
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
    const weights = await Checkpoint.open(options.checkpoint, {
        lora: new LoraConfig(configs.adapter, options.lora, configs.folder),
        isTransposed: (canonical) => family.transposed && /^layers\.\d+\.layer\./.test(canonical)
    });
    try {
        if (options.base !== undefined) base = withVocabularyOf(weights, base, options.onWarning);
        const hints = { ...options.hints, ...hintsOf(weights.tensors, base) };
        if (configs.isClassConfig) hints.normalizeKeys ??= true; // as all code that has the class does
        const armt = parseArmtConfig(configs.armt, options.flags ?? {}, hints, configs.isClassConfig);
        await checkTie(weights, base);
        return { configs, base, armt, weights };
    } catch (error) {
        await weights.close();
        throw error;
    }
}

/** Properties of the memory that follow from shapes. */
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

/** The weights may have more tokens than the config of --base. */
function withVocabularyOf({ tensors }: Checkpoint, base: BaseConfig, onWarning: OpenOptions["onWarning"]): BaseConfig {
    const { embedding, output } = families[base.architecture].names;
    const rows = (tensors.get(`${embedding}.weight`) ?? tensors.get(`${output}.weight`))?.shape[0];
    if (rows === undefined || rows === base.vocabSize) return base;
    onWarning?.(`the weights have ${rows} tokens, the config of --base ${base.vocabSize}: the weights decide`);
    return { ...base, vocabSize: rows };
}

/** If config.json ties the output to the embedding, a second matrix in the file must be equal to it. */
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
