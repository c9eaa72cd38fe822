import { type FamilyName, families } from "../convert/families.js";
import { ArmtError } from "../util/errors.js";

/** RoPE scaling of the base model, as `rope_parameters` of a Hugging Face config names it. */
export type TinyRopeScaling =
    | { type: "linear"; factor: number }
    | {
          type: "llama3";
          factor: number;
          lowFreqFactor: number;
          highFreqFactor: number;
          /** Unit: positions. */
          originalMaxPositions: number;
      };

/** Sizes and variant of a small random checkpoint; everything has a default. */
export type TinyOptions = {
    /** Family of the base model, whose names and sizes the files take. Default: `"llama"`. */
    family?: FamilyName;
    /** Keys of `config.json` to add or replace. Default: none. */
    config?: Readonly<Record<string, unknown>>;
    /** GPT-2: memory tokens take the last rows of the position table. Default: `false`. */
    wrapPositions?: boolean;
    /** A learned row before each segment's text. Default: `false`. */
    sink?: boolean;
    /** Attention reaches into the previous segment. Default: `false`. */
    slidingWindow?: boolean;
    /** L. Default: 4. */
    layers?: number;
    /** D. Default: 64. */
    hidden?: number;
    /** Attention heads. Default: 4. */
    heads?: number;
    /** Key and value heads, a divisor of `heads`. Default: 2, or `heads` if that is odd. */
    kvHeads?: number;
    /** Even size of an attention head. Default: `hidden / heads`. */
    headDim?: number;
    /** Inner size of the feed-forward network. Default: 2 · `hidden`. */
    ffn?: number;
    /** V. Default: the tokenizer's 288. */
    vocab?: number;
    /** S, text tokens in a segment. Default: 16. */
    segmentSize?: number;
    /** M, memory tokens. Default: 8. */
    memTokens?: number;
    /** d_mem, a multiple of `nHeads`. Default: 16. */
    dMem?: number;
    /** Heads of the associative memory, a divisor of `hidden`. Default: 1. */
    nHeads?: number;
    /** Default: `true`. */
    normalizeKeys?: boolean;
    /** Default: `true`. */
    useDenom?: boolean;
    /** Default: `true`. */
    correction?: boolean;
    /** Default: `false`. */
    gating?: boolean;
    /** Default: `"left"`. */
    alignment?: "left" | "right" | "center";
    /** Output and embedding share a tensor. Default: `false`. */
    tied?: boolean;
    /** Biases in attention and feed-forward network, if the family has a choice. Default: `false`. */
    biases?: boolean;
    /** Default: none. */
    ropeScaling?: TinyRopeScaling;
    /** Integer from 0 to 2^32 - 1; the same seed gives the same file. Default: 1. */
    seed?: number;
    /** Type of the weights in the file. Default: `"F32"`. */
    dtype?: "F32" | "F16" | "BF16";
    /** Safetensors files; more than one come with an index. Default: 1. */
    shards?: number;
    /**
     * Which of a layer's two names the file holds; with `"short"` a tied checkpoint keeps `lm_head` rather than the
     * embedding. Default: `"long"`.
     */
    names?: "long" | "short";
    /** Write a byte-level BPE `tokenizer.json`. Default: whether `vocab` has room for it. */
    tokenizer?: boolean;
};

/** Positions of a base model that learns them. */
export const TINY_POSITIONS = 128;

/** Bytes, 30 merges and 2 special tokens. */
export const TOKENIZER_VOCAB = 288;

export type TinyConfig = Required<Omit<TinyOptions, "ropeScaling">> & Pick<TinyOptions, "ropeScaling">;

/**
 * Fills in the defaults and checks that the sizes fit together.
 * @throws {ArmtError} that names the option
 */
export function resolveTinyOptions(options: TinyOptions): TinyConfig {
    const { hidden = 64, heads = 4, vocab = TOKENIZER_VOCAB } = options;
    const { keys } = families[options.family ?? "llama"];
    const config: TinyConfig = {
        family: "llama",
        config: {},
        wrapPositions: false,
        sink: false,
        slidingWindow: false,
        layers: 4,
        kvHeads: heads % 2 === 0 && keys.kvHeads !== undefined ? 2 : heads,
        headDim: hidden / heads,
        ffn: 2 * hidden,
        segmentSize: 16,
        memTokens: 8,
        dMem: 16,
        nHeads: 1,
        normalizeKeys: true,
        useDenom: true,
        correction: true,
        gating: false,
        alignment: "left",
        tied: false,
        biases: false,
        seed: 1,
        dtype: "F32",
        shards: 1,
        names: "long",
        tokenizer: vocab >= TOKENIZER_VOCAB,
        ...withoutUndefined(options),
        hidden,
        heads,
        vocab
    };
    for (const name of ["layers", "hidden", "heads", "kvHeads", "ffn", "vocab"] as const) count(config, name);
    for (const name of ["segmentSize", "memTokens", "dMem", "nHeads", "shards"] as const) count(config, name);
    if (!Number.isInteger(config.seed) || config.seed < 0 || config.seed >= 2 ** 32)
        throw new ArmtError(`\`seed\` is ${config.seed}, expected an integer from 0 to ${2 ** 32 - 1}`);
    if (options.headDim === undefined && hidden % (2 * heads) !== 0)
        throw new ArmtError(`\`hidden\` is ${hidden}, expected a multiple of ${2 * heads} (twice the heads)`);
    if (!(config.headDim >= 2) || config.headDim % 2 !== 0)
        throw new ArmtError(`\`headDim\` is ${config.headDim}, expected an even number`);
    divides(config, "kvHeads", "heads");
    divides(config, "nHeads", "dMem");
    divides(config, "nHeads", "hidden");
    if (config.tokenizer && vocab < TOKENIZER_VOCAB)
        throw new ArmtError(`\`vocab\` is ${vocab}, the tokenizer needs at least ${TOKENIZER_VOCAB}`);
    return config;
}

type CountName = { [K in keyof TinyConfig]: TinyConfig[K] extends number ? K : never }[keyof TinyConfig] & string;

function count(config: TinyConfig, name: CountName): void {
    const value = config[name];
    if (!Number.isSafeInteger(value) || value < 1)
        throw new ArmtError(`\`${name}\` is ${value}, expected a positive integer`);
}

function divides(config: TinyConfig, name: CountName, of: CountName): void {
    if (config[of] % config[name] !== 0)
        throw new ArmtError(`\`${name}\` is ${config[name]}, expected a divisor of \`${of}\` (${config[of]})`);
}

function withoutUndefined(options: TinyOptions): TinyOptions {
    return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
}

/** Rows of the learned position table, with those for memory tokens. */
export function positionRows({ family, config, wrapPositions, memTokens }: TinyConfig): number {
    const { positions } = families[family].keys;
    const count = positions === undefined ? 0 : Number(config[positions] ?? TINY_POSITIONS);
    return wrapPositions ? count + memTokens : count;
}
