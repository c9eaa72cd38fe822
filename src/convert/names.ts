import { ArmtError, quote } from "../util/errors.js";
import { families } from "./families.js";

// One tensor has many names in the wild: with and without the wrapper's `memory_cell.`, with `armt.` in newer classes,
// with `module.` after data-parallel training, with other wrappers' names in the path, and each layer a second time
// below `memory_cell.layers.`. Here all become the names below the base model, whose families call it `model` or
// `transformer`, and its layers `layers` or `h`. GPT-NeoX's output was `embed_out` before transformers 5.

const familyList = Object.values(families);
const anyPath = [...new Set(familyList.map(({ path }) => path))].join("|");
const anyLayers = [...new Set(familyList.map(({ layers }) => layers))].join("|");
/** Wrappers that may appear anywhere in a path: PEFT, torch.compile, FSDP, activation checkpoints. */
const wrapperPattern = /(?<=^|\.)(?:base_model\.model|_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\./g;
const pathPattern = new RegExp(
    `^(?:module\\.|armt\\.)*(?:memory_cell\\.)?(?:model\\.)?(?:(?:${anyPath})\\.)?(?<rest>.+)$`
);
const layersPattern = new RegExp(`^(?:${anyLayers})\\.(?=\\d)`);
const knownPattern = new RegExp(`^(?:memory|sink|${modelModules().join("|")}|layers\\.(?:0|[1-9]\\d{0,4})\\..+)$`);
/** Constants and states that some versions save with the weights. */
const ignoredPattern = /(?:^|\.)(?:rotary_emb\.inv_freq|W_mem|z|(?:attn|attention)\.(?:masked_)?bias)$/;

const refusals: readonly { pattern: RegExp; what: string }[] = [
    { pattern: /(?:^|\.)(?:act|halt\w*|ponder\w*)\./, what: "adaptive computation" },
    { pattern: /(?:^|\.)mem_layer\./, what: "layers of their own for memory tokens" }
];

/** What the families call the tensors that are not a layer's. */
function modelModules(): string[] {
    return familyList.flatMap(({ names, norm }) => [
        ...[names.embedding, names.outputNorm, names.output, names.positions ?? []]
            .flat()
            .map((name) => `${name}\\.weight`),
        ...(norm === "layer" ? [`${names.outputNorm}\\.bias`] : [])
    ]);
}

/**
 * The name of a tensor below the base model: `memory`, its own name (`embed_tokens.weight`, …), or
 * `layers.N.` with `W_mq.weight`, … or `layer.` and the base layer's own name.
 * @param nameInFile what errors call it
 * @returns `undefined` for what is no weight
 * @throws {ArmtError} for tensors of variants that can't be converted, by their name
 */
export function canonicalName(name: string, nameInFile = name): string | undefined {
    if (ignoredPattern.test(name)) return undefined;
    const path = name.replaceAll(wrapperPattern, "");
    const rest = (pathPattern.exec(path)?.groups?.rest ?? path)
        .replace(layersPattern, "layers.")
        .replace(/^embed_out\./, "lm_head.");
    for (const { pattern, what } of refusals) {
        if (pattern.test(name))
            throw new ArmtError(
                `tensor ${quote(nameInFile)} belongs to ${what}: not supported; convert a checkpoint that was ` +
                    "trained without it"
            );
    }
    if (!knownPattern.test(rest)) throw new ArmtError(`unknown tensor ${quote(nameInFile)}`);
    return rest;
}
