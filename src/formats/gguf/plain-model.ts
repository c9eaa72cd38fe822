import { ArmtError, quote } from "../../util/errors.js";
import type { GgufFile } from "./reader.js";
import { checkTokenTexts } from "./vocabulary.js";

/** What llama.cpp takes at most. It asserts these bounds. */
export interface NativeLimits {
    readonly maxLayers: number;
    readonly maxExperts: number;
}

/** llama.cpp's names of RoPE scaling types. */
const ropeScalingTypes = ["none", "linear", "yarn", "longrope"];

/** Multiple at which ggml asserts that a mapped file's first tensor begins. Unit: bytes. */
const mappedAlignment = 32;

/**
 * Checks the model file of another architecture against the assertions of llama.cpp that it can reach: they end the
 * process. Everything else is left to llama.cpp, which knows more than this package.
 * @param limits undefined before the engine is loaded
 * @throws {ArmtError} that names the key or tensor at fault
 */
export async function checkPlainModel(file: GgufFile, limits: NativeLimits | undefined): Promise<void> {
    const { metadata } = file;
    const architecture = metadata.get("general.architecture");
    if (architecture?.type !== "STRING") return;
    const number = (key: string): number | undefined => {
        const entry = metadata.get(`${architecture.value}.${key}`);
        return entry?.type === "UINT32" ? entry.value : undefined;
    };
    const check = (key: string, value: number | undefined, min: number, max = Number.POSITIVE_INFINITY) => {
        if (value !== undefined && (value < min || value > max))
            throw new ArmtError(
                `\`${architecture.value}.${key}\` is ${value}, expected ` +
                    (max === Number.POSITIVE_INFINITY ? `${min} or more` : `${min} to ${max}`)
            );
    };
    const layers = number("block_count");
    check("block_count", layers, 1, limits?.maxLayers);
    check("nextn_predict_layers", number("nextn_predict_layers"), 0, layers);
    checkExperts(number, check, limits);
    const scaling = metadata.get(`${architecture.value}.rope.scaling.type`);
    if (scaling?.type === "STRING" && !ropeScalingTypes.includes(scaling.value))
        throw new ArmtError(
            `\`${architecture.value}.rope.scaling.type\` is ${quote(scaling.value)}, expected ` +
                ropeScalingTypes.join(", ")
        );
    for (const [name, { type }] of file.tensors)
        if (type.name === "Q8_1" || type.name === "Q8_K")
            throw new ArmtError(`tensor ${quote(name)} is ${type.name}, which is no type for weights`);
    const [first] = file.tensors.values();
    if (first !== undefined && first.offset % mappedAlignment !== 0)
        throw new ArmtError(
            `\`general.alignment\` puts the first tensor at byte ${first.offset}, not at a multiple of ` +
                `${mappedAlignment}`
        );
    await checkTokenTexts(file);
}

function checkExperts(
    number: (key: string) => number | undefined,
    check: (key: string, value: number | undefined, min: number, max?: number) => void,
    limits: NativeLimits | undefined
): void {
    const count = number("expert_count") ?? 0;
    check("expert_count", count, 0, limits?.maxExperts);
    // Hunyuan's files may have 1 expert, which counts as none there
    if (count > 1) {
        check("expert_used_count", number("expert_used_count"), 1, count);
        const groups = number("expert_group_count");
        check("expert_group_count", groups, 0, count - 1);
        if (groups !== undefined && groups > 1) {
            if (count % groups !== 0) check("expert_group_count", groups, 0, 1);
            check("expert_group_used_count", number("expert_group_used_count") ?? 0, 1, groups - 1);
        }
    } else if (count === 0) {
        check("expert_used_count", number("expert_used_count"), 0, 0);
        check("expert_group_count", number("expert_group_count"), 0, 0);
    }
}
