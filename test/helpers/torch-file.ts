import type { TensorData } from "../../src/formats/safetensors/writer.js";
import { type PickleCode, pickle, stateDict, tensor, text } from "./pickle-bytes.js";
import { type ZipMember, zipArchive } from "./zip-archive.js";

const storages: Record<string, string> = { F32: "FloatStorage", F16: "HalfStorage", BF16: "BFloat16Storage" };

/** A dictionary as pickle code, without the header and end of a pickle. */
export function dictionary(entries: Readonly<Record<string, PickleCode>>): Buffer {
    const whole = pickle("}(", ...Object.entries(entries).flatMap(([key, value]) => [text(key), value]), "u");
    return whole.subarray(2, -1);
}

/**
 * The bytes that `torch.save` writes for a state dict.
 * @param wrap puts the pickled state dict into a larger object. Default: save the state dict itself
 */
export function torchFile(tensors: readonly TensorData[], wrap?: (stateDict: Buffer) => Buffer): Buffer {
    const members: ZipMember[] = [];
    const codes: Record<string, PickleCode> = {};
    for (const [i, { name, dtype, shape, data }] of tensors.entries()) {
        const stride = shape.map((_, axis) => shape.slice(axis + 1).reduce((product, n) => product * n, 1));
        const length = shape.reduce((product, n) => product * n, 1);
        codes[name] = tensor({ key: String(i), shape, stride, length, storage: storages[dtype]! });
        members.push({ name: `model/data/${i}`, data: data as Buffer });
    }
    const code = stateDict(codes);
    const whole = wrap === undefined ? code : pickle(wrap(code.subarray(2, -1)));
    return zipArchive([{ name: "model/data.pkl", data: whole }, ...members]);
}
