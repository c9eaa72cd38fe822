import { ArmtError, quote } from "../util/errors.js";
import type { JsonFile } from "../util/json-file.js";
import { type ArmtConfig, type ArmtFlags, type ArmtHints, parseArmtConfig, parseMixinConfig } from "./armt-config.js";
import { type BaseConfig, parseBaseConfig } from "./base-config.js";
import { Checkpoint, type SourceTensor, sameContents } from "./checkpoint.js";
import { type CheckpointConfigs, type CheckpointSource, newestKeys, readConfigs } from "./configs.js";
import { families } from "./families.js";
import { LoraConfig, type LoraFlags } from "./lora/lora.js";
import { addMemorylessLayers } from "./memoryless-layers.js";
import { describePublished, differsFromPublished, findPublished } from "./published.js";

export type OpenOptions = CheckpointSource & {
    /** Values that `armt_config.json` lacks, or overrides for it. */
    flags?: ArmtFlags;
    /** Values that `adapter_config.json` lacks, or overrides for it. */
    lora?: LoraFlags;
    /** Values to use if the file, the flags and the weights give none. */
    hints?: ArmtHints;
    /** Whether to name a published checkpoint with the same shapes even if the values are its own. Default: `false`. */
    namesPublished?: boolean;
    onWarning?: (message: string) => void;
};

/** A checkpoint, with everything that its files and the options say about it. */
export type OpenCheckpoint = {
    configs: CheckpointConfigs;
    base: BaseConfig;
    armt: ArmtConfig;
    weights: Checkpoint;
    /** The weights by name, with zeros for the memory of layers that have none. */
    tensors: ReadonlyMap<string, SourceTensor>;
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
        const memoryKind = memoryKindOf(weights, options.checkpoint);
        if (options.base !== undefined) base = withVocabularyOf(weights, base, options.onWarning);
        const hints: ArmtHints = { ...options.hints, ...hintsOf(weights.tensors, base), memoryKind };
        if (memoryKind === "recurrent") hints.normalizeKeys ??= false; // there are no keys
        if (configs.isClassConfig) hints.normalizeKeys ??= true; // all code with the class normalizes keys
        Object.assign(hints, configs.hints);
        takeDialect(configs, hints, options);
        if (positionsContinue(configs, base)) hints.positionsContinue ??= true;
        if (configs.mixin !== undefined) takeMixinHints(configs.mixin, hints, options);
        const published = findPublished(weights.tensors, base);
        const armt = parseArmtConfig(configs.armt, options.flags ?? {}, hints, {
            isClassConfig: configs.isClassConfig,
            suggestion: published === undefined ? undefined : describePublished(published)
        });
        if (published !== undefined && (options.namesPublished === true || differsFromPublished(published, armt)))
            options.onWarning?.(`the ${describePublished(published)}`);
        const knowsHeads = options.flags?.headCount !== undefined || configs.armt?.get("n_heads") !== undefined;
        if (!knowsHeads && armt.headCount > 1)
            options.onWarning?.(
                `the memory has ${armt.headCount} heads by its shapes; a file of OnlineARMTForCausalLM, which ` +
                    "computes something else, has the same shapes: --n-heads says that it is none"
            );
        await checkTie(weights, base);
        const tensors =
            memoryKind === "recurrent"
                ? withLayerNames(weights.tensors)
                : addMemorylessLayers(weights.tensors, armt.layersWithMemory, base.layerCount);
        return { configs, base, armt, weights, tensors };
    } catch (error) {
        await weights.close();
        throw error;
    }
}

/** Reports a plain checkpoint as such, instead of asking for the properties of a memory that it does not have. */
function memoryKindOf({ tensors }: Checkpoint, checkpoint: string): ArmtConfig["memoryKind"] {
    if ([...tensors.keys()].some((name) => /\.W_m[qkvb]\./.test(name))) return "associative";
    if (tensors.has("memory")) return "recurrent";
    throw new ArmtError(
        `${quote(checkpoint)} is a plain checkpoint without a memory; train one with armt-train, or convert the ` +
            "checkpoint with llama.cpp and run it as it is with `armt run`, or add a memory with `armt attach`"
    );
}

/** Plain RMT has no wrapper around layers, whose tensors get the names that they have within one. */
function withLayerNames(tensors: ReadonlyMap<string, SourceTensor>): ReadonlyMap<string, SourceTensor> {
    return new Map([...tensors].map(([name, tensor]) => [name.replace(/^(layers\.\d+\.)/, "$1layer."), tensor]));
}

/** Properties of the memory that follow from the tensors' shapes. */
function hintsOf(tensors: ReadonlyMap<string, SourceTensor>, base: BaseConfig): ArmtHints {
    const hints: ArmtHints = {};
    const [, beta] = [...tensors].find(([name]) => /^layers\.\d+\.W_mb\.weight$/.test(name)) ?? [];
    const betaCount = beta?.shape[0];
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

/** In the newest class, learned positions run on through the segments up to the end of the table. */
function positionsContinue({ isClassConfig, armt }: CheckpointConfigs, base: BaseConfig): boolean {
    return (
        isClassConfig && base.positionCount !== undefined && newestKeys.some((name) => armt?.get(name) !== undefined)
    );
}

/** Versions of one class compute different things. The source text next to the weights may tell which it is. */
function takeDialect(
    { unknownDialect, dialectNote, armt }: CheckpointConfigs,
    hints: ArmtHints,
    { flags, onWarning }: OpenOptions
): void {
    const given = flags?.dialect ?? armt?.get("dialect");
    if (unknownDialect !== undefined && given === undefined && hints.dialect === undefined)
        throw new ArmtError(unknownDialect);
    if (dialectNote !== undefined && given === undefined) onWarning?.(dialectNote);
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
