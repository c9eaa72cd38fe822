/** Number of elements and bytes in a block of each ggml type, by its number in the file (ggml.h, ggml 0.25). */
const ggmlTypeList = [
    [0, "F32", 1, 4],
    [1, "F16", 1, 2],
    [2, "Q4_0", 32, 18],
    [3, "Q4_1", 32, 20],
    [6, "Q5_0", 32, 22],
    [7, "Q5_1", 32, 24],
    [8, "Q8_0", 32, 34],
    [9, "Q8_1", 32, 36],
    [10, "Q2_K", 256, 84],
    [11, "Q3_K", 256, 110],
    [12, "Q4_K", 256, 144],
    [13, "Q5_K", 256, 176],
    [14, "Q6_K", 256, 210],
    [15, "Q8_K", 256, 292],
    [16, "IQ2_XXS", 256, 66],
    [17, "IQ2_XS", 256, 74],
    [18, "IQ3_XXS", 256, 98],
    [19, "IQ1_S", 256, 50],
    [20, "IQ4_NL", 32, 18],
    [21, "IQ3_S", 256, 110],
    [22, "IQ2_S", 256, 82],
    [23, "IQ4_XS", 256, 136],
    [24, "I8", 1, 1],
    [25, "I16", 1, 2],
    [26, "I32", 1, 4],
    [27, "I64", 1, 8],
    [28, "F64", 1, 8],
    [29, "IQ1_M", 256, 56],
    [30, "BF16", 1, 2],
    [34, "TQ1_0", 256, 54],
    [35, "TQ2_0", 256, 66],
    [39, "MXFP4", 32, 17],
    [40, "NVFP4", 64, 36],
    [41, "Q1_0", 128, 18],
    [42, "Q2_0", 64, 18]
] as const;

/** Name of a ggml tensor type, in ggml's spelling. */
export type GgmlType = (typeof ggmlTypeList)[number][1];

export type GgmlTypeInfo = {
    id: number;
    name: GgmlType;
    /** Number of elements in a block. A row is a whole number of blocks. */
    blockSize: number;
    /** Size of a block. Unit: bytes. */
    blockBytes: number;
};

const infos = ggmlTypeList.map(
    ([id, name, blockSize, blockBytes]): GgmlTypeInfo => ({ id, name, blockSize, blockBytes })
);
const byId = new Map(infos.map((info) => [info.id, info]));
const byName = new Map(infos.map((info) => [info.name, info]));

export function ggmlTypeById(id: number): GgmlTypeInfo | undefined {
    return byId.get(id);
}

export function ggmlType(name: GgmlType): GgmlTypeInfo {
    return byName.get(name)!;
}

/** Size of a tensor's data without padding. The first dimension is the row. Unit: bytes. */
export function tensorByteLength(type: GgmlTypeInfo, shape: readonly number[]): number {
    const elements = shape.reduce((product, n) => product * n, 1);
    return (elements / type.blockSize) * type.blockBytes;
}

/** GGUF metadata types of fixed size: number in the file, and size in bytes. */
export const scalarTypes = {
    UINT8: { id: 0, bytes: 1 },
    INT8: { id: 1, bytes: 1 },
    UINT16: { id: 2, bytes: 2 },
    INT16: { id: 3, bytes: 2 },
    UINT32: { id: 4, bytes: 4 },
    INT32: { id: 5, bytes: 4 },
    FLOAT32: { id: 6, bytes: 4 },
    BOOL: { id: 7, bytes: 1 },
    UINT64: { id: 10, bytes: 8 },
    INT64: { id: 11, bytes: 8 },
    FLOAT64: { id: 12, bytes: 8 }
} as const;

export const STRING_TYPE_ID = 8;
export const ARRAY_TYPE_ID = 9;

/** A metadata array to write. Its elements are already encoded and concatenated. */
export type GgufArrayData = { type: "ARRAY"; elementType: ElementType; count: number; bytes: Uint8Array };

export type ScalarType = keyof typeof scalarTypes;
export type ElementType = ScalarType | "STRING";

/** The JavaScript value of each type. 64-bit integers are bigint. */
export type ScalarValues = {
    UINT8: number;
    INT8: number;
    UINT16: number;
    INT16: number;
    UINT32: number;
    INT32: number;
    FLOAT32: number;
    FLOAT64: number;
    UINT64: bigint;
    INT64: bigint;
    BOOL: boolean;
    STRING: string;
};

/** A metadata value that is not an array. */
export type GgufScalar = { [T in keyof ScalarValues]: { type: T; value: ScalarValues[T] } }[keyof ScalarValues];

/** The position of a metadata array in the file. A vocabulary is read only on request. */
export type GgufArrayRef = {
    type: "ARRAY";
    elementType: ElementType;
    count: number;
    /** Start of the elements in the file. Unit: bytes. */
    offset: number;
    byteLength: number;
};

export type GgufValue = GgufScalar | GgufArrayRef;

export type GgufTensorInfo = {
    type: GgmlTypeInfo;
    /** Shape in ggml's order: fastest dimension first. */
    shape: number[];
    /** Start of the data in the file. Unit: bytes. */
    offset: number;
    byteLength: number;
};

const elementTypesById = new Map<number, ElementType>([
    ...(Object.keys(scalarTypes) as ScalarType[]).map((name): [number, ElementType] => [scalarTypes[name].id, name]),
    [STRING_TYPE_ID, "STRING"]
]);

export function elementTypeById(id: number): ElementType | undefined {
    return elementTypesById.get(id);
}

export function elementTypeId(type: ElementType): number {
    return type === "STRING" ? STRING_TYPE_ID : scalarTypes[type].id;
}

/** Decodes one value of fixed size. Returns `undefined` for a BOOL that is neither 0 nor 1. */
export function decodeScalar(type: ScalarType, bytes: Buffer, offset = 0): GgufScalar | undefined {
    switch (type) {
        case "UINT8":
            return { type, value: bytes.readUInt8(offset) };
        case "INT8":
            return { type, value: bytes.readInt8(offset) };
        case "UINT16":
            return { type, value: bytes.readUInt16LE(offset) };
        case "INT16":
            return { type, value: bytes.readInt16LE(offset) };
        case "UINT32":
            return { type, value: bytes.readUInt32LE(offset) };
        case "INT32":
            return { type, value: bytes.readInt32LE(offset) };
        case "FLOAT32":
            return { type, value: bytes.readFloatLE(offset) };
        case "FLOAT64":
            return { type, value: bytes.readDoubleLE(offset) };
        case "UINT64":
            return { type, value: bytes.readBigUInt64LE(offset) };
        case "INT64":
            return { type, value: bytes.readBigInt64LE(offset) };
        case "BOOL": {
            const byte = bytes.readUInt8(offset);
            return byte > 1 ? undefined : { type, value: byte === 1 };
        }
    }
}

/** Encodes one value without its type number. */
export function encodeScalar(scalar: GgufScalar): Buffer {
    if (scalar.type === "STRING") return encodeString(scalar.value);
    const bytes = Buffer.alloc(scalarTypes[scalar.type].bytes);
    switch (scalar.type) {
        case "UINT8":
            bytes.writeUInt8(scalar.value);
            break;
        case "INT8":
            bytes.writeInt8(scalar.value);
            break;
        case "UINT16":
            bytes.writeUInt16LE(scalar.value);
            break;
        case "INT16":
            bytes.writeInt16LE(scalar.value);
            break;
        case "UINT32":
            bytes.writeUInt32LE(scalar.value);
            break;
        case "INT32":
            bytes.writeInt32LE(scalar.value);
            break;
        case "FLOAT32":
            bytes.writeFloatLE(scalar.value);
            break;
        case "FLOAT64":
            bytes.writeDoubleLE(scalar.value);
            break;
        case "UINT64":
            bytes.writeBigUInt64LE(scalar.value);
            break;
        case "INT64":
            bytes.writeBigInt64LE(scalar.value);
            break;
        case "BOOL":
            bytes.writeUInt8(scalar.value ? 1 : 0);
            break;
    }
    return bytes;
}

/** Encodes a GGUF string: a 64-bit length, then UTF-8. */
export function encodeString(text: string): Buffer {
    const utf8 = Buffer.from(text, "utf8");
    const bytes = Buffer.alloc(8 + utf8.length);
    bytes.writeBigUInt64LE(BigInt(utf8.length));
    utf8.copy(bytes, 8);
    return bytes;
}
