/** Pieces of a pickle, which `pickle` joins. */
export type PickleCode = string | Buffer;

export type PickledTensor = {
    key: string;
    shape: readonly number[];
    stride: readonly number[];
    /** Number of elements in the storage. */
    length: number;
    /** Index of the first element. Default: 0. */
    start?: number;
    /** Default: `FloatStorage`. */
    storage?: string;
};

export function pickle(...code: PickleCode[]): Buffer {
    return Buffer.concat(["\x80\x02", ...code, "."].map((piece) => toBytes(piece)));
}

export function global(module: string, name: string): string {
    return `c${module}\n${name}\n`;
}

export function text(value: string): Buffer {
    const utf8 = Buffer.from(value);
    return Buffer.concat([Buffer.from("X"), uint32(utf8.length), utf8]);
}

export function integer(value: number): Buffer {
    return Buffer.concat([Buffer.from("J"), uint32(value)]);
}

export function tuple(...items: PickleCode[]): Buffer {
    return Buffer.concat(["(", ...items, "t"].map(toBytes));
}

/** The call with which torch rebuilds a tensor. */
export function tensor({ key, shape, stride, length, start = 0, storage = "FloatStorage" }: PickledTensor): Buffer {
    const id = tuple(text("storage"), global("torch", storage), text(key), text("cpu"), integer(length));
    const hooks = Buffer.from(`${global("collections", "OrderedDict")})R`);
    const args = tuple(
        Buffer.concat([id, Buffer.from("Q")]),
        integer(start),
        tuple(...shape.map(integer)),
        tuple(...stride.map(integer)),
        Buffer.from([0x89]),
        hooks
    );
    return Buffer.concat([Buffer.from(global("torch._utils", "_rebuild_tensor_v2")), args, Buffer.from("R")]);
}

/** A pickled dictionary of tensors. */
export function stateDict(tensors: Readonly<Record<string, PickleCode>>): Buffer {
    return pickle("}(", ...Object.entries(tensors).flatMap(([name, value]) => [text(name), value]), "u");
}

function toBytes(piece: PickleCode): Buffer {
    return typeof piece === "string" ? Buffer.from(piece, "latin1") : piece;
}

function uint32(value: number): Buffer {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32LE(value);
    return bytes;
}
