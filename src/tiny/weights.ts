import { type Family, families } from "../convert/families.js";
import { normalValues, seededRandom } from "../util/random.js";
import { positionRows, type TinyConfig } from "./options.js";

export type TinyTensor = {
    /** Name in the authors' state dict. */
    name: string;
    /** Dimensions, the slowest-varying first. */
    shape: number[];
    /** Mean of the normal distribution that the values are drawn from. */
    mean: number;
    deviation: number;
    values: () => Float32Array;
};

/** Standard deviation of token and memory embeddings. With a small one (0.02), keys hardly depend on the text. */
const EMBEDDING_DEVIATION = 0.5;
/** Standard deviation of the logits of a normalized row. */
const LOGIT_DEVIATION = 2;

/** All tensors of a checkpoint. Each has its own seed, so that an option never changes the values of other tensors. */
export function listTensors(config: TinyConfig): TinyTensor[] {
    const { hidden, vocab, memTokens, layers, tied, names } = config;
    const family = families[config.family];
    const prefix = `memory_cell.model.${family.path}`;
    const outputDeviation = LOGIT_DEVIATION / Math.sqrt(hidden);
    const output = draw(config, `memory_cell.model.${family.names.output}.weight`, [vocab, hidden], outputDeviation);
    const embeddingName = `${prefix}.${family.names.embedding}.weight`;
    const norm = `${prefix}.${family.names.outputNorm}`;
    const embedding = tied
        ? { ...output, name: embeddingName }
        : draw(config, embeddingName, [vocab, hidden], EMBEDDING_DEVIATION);
    return [
        draw(config, "memory_cell.memory", [memTokens, hidden], EMBEDDING_DEVIATION),
        ...(config.sink ? [draw(config, "memory_cell.sink", [1, hidden], EMBEDDING_DEVIATION)] : []),
        ...(tied && names === "short" ? [] : [embedding]),
        ...(family.names.positions === undefined
            ? []
            : [draw(config, `${prefix}.${family.names.positions}.weight`, [positionRows(config), hidden], 0.2)]),
        ...Array.from({ length: layers }, (_, il) => listLayer(config, family, il)).flat(),
        draw(config, `${norm}.weight`, [hidden], 0.1, family.normsLessOne ? 0 : 1),
        ...(family.norm === "layer" ? [draw(config, `${norm}.bias`, [hidden], 0.1)] : []),
        ...(tied && names === "long" ? [] : [output])
    ];
}

function listLayer(config: TinyConfig, family: Family, il: number): TinyTensor[] {
    const { hidden, heads, kvHeads, headDim, ffn, dMem, nHeads, gating, names } = config;
    const prefix =
        names === "long" ? `memory_cell.model.${family.path}.${family.layers}.${il}` : `memory_cell.layers.${il}`;
    const seedName = `layers.${il}`;
    const tensor = (name: string, shape: number[], deviation: number, mean = 0) =>
        draw(config, `${prefix}.${name}`, shape, deviation, mean, `${seedName}.${name}`);
    const matrix = (name: string, outputs: number, inputs: number, scale = 1) =>
        tensor(`${name}.weight`, [outputs, inputs], scale / Math.sqrt(inputs));
    const linear = (names: readonly string[], sizes: readonly number[], inputs: number, bias: boolean | string) =>
        names.flatMap((name, i) => {
            const outputs = names.length === 1 ? sizes.reduce((sum, size) => sum + size) : sizes[i]!;
            const shape = family.transposed ? [inputs, outputs] : [outputs, inputs];
            return [
                tensor(`layer.${name}.weight`, shape, 1 / Math.sqrt(inputs)),
                ...(bias === true || (bias !== false && config.biases)
                    ? [tensor(`layer.${name}.bias`, [outputs], 0.1)]
                    : [])
            ];
        });
    const normMean = family.normsLessOne ? 0 : 1;
    const norm = (name: string | undefined) =>
        name === undefined
            ? []
            : [
                  tensor(`layer.${name}.weight`, [hidden], 0.1, normMean),
                  ...(family.norm === "layer" ? [tensor(`layer.${name}.bias`, [hidden], 0.1)] : [])
              ];
    const module = family.names;
    const [queries, keys] = [heads * headDim, kvHeads * headDim];
    const betaCount = gating ? hidden : nHeads;
    const { keyScale, betaMean } = memoryScale(config);
    return [
        ...norm(module.attentionNorm),
        ...linear(module.qkv, [queries, keys, keys], hidden, family.biases.qkv),
        ...[module.queryNorm, module.keyNorm].flatMap((name) =>
            name === undefined ? [] : [tensor(`layer.${name}.weight`, [headDim], 0.1, normMean)]
        ),
        ...linear([module.attentionOutput], [hidden], queries, family.biases.output),
        ...norm(module.attentionPostNorm),
        ...norm(module.feedForwardNorm),
        ...norm(module.feedForwardPostNorm),
        ...linear(module.up, family.gated ? [ffn, ffn] : [ffn], hidden, family.biases.mlp),
        ...linear([module.down], [hidden], ffn, family.biases.mlp),
        matrix("W_mq", dMem, hidden, keyScale),
        matrix("W_mk", dMem, hidden, keyScale),
        matrix("W_mv", hidden, hidden, 0.5),
        matrix("W_mb", betaCount, hidden, 0.5),
        tensor("W_mb.bias", [betaCount], 0.5, betaMean)
    ];
}

/**
 * Scales at which rounding errors do not grow over segments. β is small on average: the M similar keys of a segment all
 * correct the same value, and from about β = 1/2 on they overshoot more with every segment. Without a denominator,
 * M · β · ‖k‖² must stay below 2. There, β falls with M, and keys that aren't normalized are short (‖φ‖² grows with the
 * 4th power of the scale).
 */
function memoryScale({ useDenom, normalizeKeys, memTokens, dMem }: TinyConfig) {
    if (useDenom) return { keyScale: 0.5, betaMean: -2 };
    return { keyScale: normalizeKeys ? 0.5 : (16 * dMem) ** -0.25, betaMean: -Math.log(2 * memTokens) };
}

function draw(
    { seed }: TinyConfig,
    name: string,
    shape: number[],
    deviation: number,
    mean = 0,
    seedName = name
): TinyTensor {
    const count = shape.reduce((product, n) => product * n, 1);
    const values = () => normalValues(seededRandom(seed, seedName), count, mean, deviation);
    return { name, shape, mean, deviation, values };
}
