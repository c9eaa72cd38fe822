import { type FamilyName, families } from "../convert/families.js";
import { MEMORY_EPSILON } from "../formats/gguf/armt-keys.js";
import { ArmtError } from "../util/errors.js";

/** RoPE scaling of the base model, named as in `rope_parameters` of a Hugging Face config. */
export type TinyRopeScaling =
    | { type: "linear"; factor: number }
    | {
          type: "llama3";
          factor: number;
          lowFreqFactor: number;
          highFreqFactor: number;
          /** Context length before scaling. Unit: positions. */
          originalMaxPositions: number;
      };

/** Sizes and variant of a small random checkpoint; all options have defaults. */
export type TinyOptions = {
    /** Family of the base model; it sets tensor names and the form of `config.json`. Default: `"llama"`. */
    family?: FamilyName;
    /** Keys of `config.json` to add or replace. Default: none. */
    config?: Readonly<Record<string, unknown>>;
    /** GPT-2 only: memory tokens use the last rows of the position table. Default: `false`. */
    wrapPositions?: boolean;
    /** A learned row before each segment's text. Default: `false`. */
    sink?: boolean;
    /** Attention reaches into the previous segment. Default: `false`. */
    slidingWindow?: boolean;
    /** Each segment begins with the text of the segment before. Default: `false`. */
    rereadsPrevious?: boolean;
    /** Number of layers, L. Default: 4. */
    layers?: number;
    /** Hidden size, D. Default: 64. */
    hidden?: number;
    /** Number of attention heads. Default: 4. */
    heads?: number;
    /** Number of key and value heads, a divisor of `heads`. Default: 2, or `heads` if it is odd. */
    kvHeads?: number;
    /** Size of an attention head, an even number. Default: `hidden / heads`. */
    headDim?: number;
    /** Inner size of the feed-forward network. Default: 2 · `hidden`. */
    ffn?: number;
    /** Vocabulary size, V. Default: 288, the tokenizer's size. */
    vocab?: number;
    /** Text tokens in a segment, S. Default: 16. */
    segmentSize?: number;
    /** Number of memory tokens, M. Default: 8. */
    memTokens?: number;
    /** Size of the memory's keys, d_mem, a multiple of `nHeads`. Default: 16. */
    dMem?: number;
    /** Number of heads of the associative memory, a divisor of `hidden`. Default: 1. */
    nHeads?: number;
    /** Normalize the memory's keys. Default: `true`. */
    normalizeKeys?: boolean;
    /** Divide what is read by the normalizer z. Default: `true`. */
    useDenom?: boolean;
    /** Apply the correction γ to updates of z. Default: `true`. */
    correction?: boolean;
    /** One β for each dimension instead of one for each head. Default: `false`. */
    gating?: boolean;
    /** Added to q·z, k·z and ‖k‖² before they divide. Default: 1e-5. */
    memoryEpsilon?: number;
    /** How a text is cut into segments. Default: `"left"`. */
    alignment?: "left" | "right" | "center";
    /** Whether output and embedding share a tensor. Default: `false`. */
    tied?: boolean;
    /** Add biases to attention and feed-forward network, in families where they are optional. Default: `false`. */
    biases?: boolean;
    /** RoPE scaling of the base model. Default: none. */
    ropeScaling?: TinyRopeScaling;
    /** Integer from 0 to 2^32 - 1; the same seed gives the same file. Default: 1. */
    seed?: number;
    /** Type of the weights in the file. Default: `"F32"`. */
    dtype?: "F32" | "F16" | "BF16";
    /** Number of safetensors files; several files come with an index. Default: 1. */
    shards?: number;
    /**
     * Which of a layer's two names the file uses. With `"short"`, a tied checkpoint stores `lm_head` instead of the
     * embedding. Default: `"long"`.
     */
    names?: "long" | "short";
    /** Write a byte-level BPE `tokenizer.json`. Default: `true` if `vocab` has room for it. */
    tokenizer?: boolean;
};

/** Number of positions in a base model with learned positions. */
export const TINY_POSITIONS = 128;

/** Vocabulary of the tokenizer: 256 bytes, 30 merges and 2 special tokens. */
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
        rereadsPrevious: false,
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
        memoryEpsilon: MEMORY_EPSILON,
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

/** Number of rows in the learned position table, including those for memory tokens. */
export function positionRows({ family, config, wrapPositions, memTokens }: TinyConfig): number {
    const { positions } = families[family].keys;
    const count = positions === undefined ? 0 : Number(config[positions] ?? TINY_POSITIONS);
    return wrapPositions ? count + memTokens : count;
}
