import { ArmtError, quote } from "../../util/errors.js";
import type { SourceTensor } from "../checkpoint.js";
import { families } from "../families.js";
import type { LoraUpdate } from "../lora/lora.js";
import type { BaseGguf } from "./base-gguf.js";
import type { MemoryFile } from "./memory-file.js";

const updatePattern = /^layers\.(?<layer>\d+)\.layer\.(?<module>.+)\.weight$/;

/**
 * A memory's LoRA updates by the stock names of the base's tensors.
 * @throws {ArmtError} for a module that the base lacks, or that a trained memory has in some layers alone
 */
export function stockUpdates(
    { path, weights, facts }: MemoryFile,
    source: BaseGguf
): ReadonlyMap<string, LoraUpdate<SourceTensor>> {
    const { layerCount } = source.base;
    const modules = stockModules(source);
    const counts = new Map<string, number>();
    const updates = new Map<string, LoraUpdate<SourceTensor>>();
    for (const [canonical, update] of weights.adapters) {
        const { layer, module = "" } = updatePattern.exec(canonical)?.groups ?? {};
        const kind = modules.get(module);
        if (layer === undefined || kind === undefined)
            throw new ArmtError(
                `tensor ${quote(update.a.name)} is LoRA of a module that is not known in a base with the ` +
                    `architecture ${quote(source.name)}; known are ${[...modules.keys()].join(", ")}`
            );
        if (Number(layer) >= layerCount)
            throw new ArmtError(
                `tensor ${quote(update.a.name)} is of a layer that the base model, which has ${layerCount}, lacks`
            );
        updates.set(`blk.${layer}.${kind}.weight`, update);
        counts.set(module, (counts.get(module) ?? 0) + 1);
    }
    for (const [module, count] of counts)
        if (facts !== undefined && count !== layerCount)
            throw new ArmtError(
                `${quote(path)} is damaged: ` +
                    `it has LoRA of ${quote(module)} for ${count} of the base's ${layerCount} layers`
            );
    return updates;
}

/** Stock names of a layer's modules, by the family's. */
function stockModules({ architecture }: BaseGguf): ReadonlyMap<string, string> {
    const { names } = families[architecture.family];
    const attention = architecture.fusedAttention === true ? ["attn_qkv"] : ["attn_q", "attn_k", "attn_v"];
    const up = architecture.fusedUp === true ? ["ffn_up"] : ["ffn_gate", "ffn_up"];
    return new Map([
        // the rows of LoRA's B would have to be put in the stock file's order
        ...(names.interleaved === true ? [] : names.qkv.map((name, i): [string, string] => [name, attention[i]!])),
        [names.attentionOutput, "attn_output"],
        ...names.up.map((name, i): [string, string] => [name, up[i]!]),
        [names.down, "ffn_down"]
    ]);
}
