import { ArmtError, quote } from "../util/errors.js";
import { families } from "./families.js";

// Checkpoints name the same tensor in many ways: with and without the wrapper's `memory_cell.`, with `armt.` in newer
// classes, with `module.` after data-parallel training, with other wrappers' names in the path, and each layer a second
// time below `memory_cell.layers.`. This file maps them all to the names below the base model. Families call the base
// model `model` or `transformer`, and its layers `layers` or `h`. The output of GPT-NeoX was `embed_out` before
// transformers 5.

const familyList = Object.values(families);
const anyPath = [...new Set(familyList.map(({ path }) => path))].join("|");
const anyLayers = [...new Set(familyList.map(({ layers }) => layers))].join("|");
/** Wrappers that may appear anywhere in a path: PEFT, torch.compile, FSDP, activation checkpointing. */
const wrapperPattern = /(?<=^|\.)(?:base_model\.model|_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\./g;
const pathPattern = new RegExp(
    `^(?:module\\.|armt\\.)*(?:memory_cell\\.)?(?:model\\.)?(?:(?:${anyPath})\\.)?(?<rest>.+)$`
);
const layersPattern = new RegExp(`^(?:${anyLayers})\\.(?=\\d)`);
const knownPattern = new RegExp(`^(?:memory|sink|${modelModules().join("|")}|layers\\.(?:0|[1-9]\\d{0,4})\\..+)$`);
/** Constants and state that some versions save with the weights. */
const ignoredPattern = /(?:^|\.)(?:rotary_emb\.inv_freq|W_mem|z|(?:attn|attention)\.(?:masked_)?bias)$/;

const refusals: readonly { pattern: RegExp; what: string }[] = [
    { pattern: /(?:^|\.)(?:act|halt\w*|ponder\w*)\./, what: "adaptive computation" },
    { pattern: /(?:^|\.)mem_layer\./, what: "layers of their own for memory tokens" },
    { pattern: /(?:^|\.)gdn_update\./, what: "a memory that decays (gated delta rule)" }
];

/** The families' names of the modules outside the layers. */
function modelModules(): string[] {
    return familyList.flatMap(({ names, norm }) => [
        ...[names.embedding, names.outputNorm, names.output, names.positions ?? []]
            .flat()
            .map((name) => `${name}\\.weight`),
        ...(norm === "layer" ? [`${names.outputNorm}\\.bias`] : [])
    ]);
}

/**
 * The name of a tensor below the base model: `memory`, the model's own name (`embed_tokens.weight`, …), or `layers.N.`
 * followed by `W_mq.weight`, … or by `layer.` and the base layer's own name.
 * @param nameInFile the name for error messages
 * @returns `undefined` if the tensor is not a weight
 * @throws {ArmtError} that names a tensor of a variant that cannot be converted
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
