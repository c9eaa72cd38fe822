import { ArmtError, quote } from "../util/errors.js";

export type ReadRange = {
    /** First byte within the tensor. Default: 0. */
    start?: number;
    /** One past the last byte within the tensor. Default: its length. */
    end?: number;
};

/**
 * Finds a tensor of a file and completes a range of its bytes.
 * @throws {ArmtError} if there is no such tensor or the range is outside it
 */
export function tensorRange<T extends { readonly byteLength: number }>(
    { path, tensors }: { readonly path: string; readonly tensors: ReadonlyMap<string, T> },
    name: string,
    { start = 0, end }: ReadRange = {}
): { tensor: T; start: number; end: number } {
    const tensor = tensors.get(name);
    if (tensor === undefined) throw new ArmtError(`${quote(path)} has no tensor ${quote(name)}`);
    const stop = end ?? tensor.byteLength;
    if (start < 0 || start > stop || stop > tensor.byteLength)
        throw new ArmtError(`tensor ${quote(name)} has no bytes ${start} to ${stop} (${tensor.byteLength} in all)`);
    return { tensor, start, end: stop };
}
