import { crc32 } from "node:zlib";
import { ArmtError } from "../../src/util/errors.js";
import { JsonFile } from "../../src/util/json-file.js";
import { decodeUtf8, parseStrictJsonObject } from "../../src/util/strict-json.js";
import { segmentOverflows, stateTypes } from "../native/enums.js";
import type { ArmtSegmentOverflow, ArmtSnapshotHeader, ArmtSnapshotSource, ArmtStateType } from "../types.js";

/** A file is damaged, or is no snapshot. It will not become readable. */
export class DamagedSnapshotError extends ArmtError {
    override name = "DamagedSnapshotError";
}

const magic = Buffer.from("ARMTSNAP", "latin1");

/** Version of the format (docs/memories.md). */
export const snapshotVersion = 1;

/** Size of magic, version, length and checksum. Unit: bytes. */
export const fixedBytes = 20;

/** Limit for the JSON, which is a few hundred bytes and a path. Unit: bytes. */
const maxJsonBytes = 2 ** 16;

/** Token ids and state start at multiples of this. Unit: bytes. */
const alignment = 64;

export type HeaderLayout = {
    readonly header: ArmtSnapshotHeader;
    /** Offset of the token ids. */
    readonly tokensStart: number;
    /** Offset of the state. */
    readonly stateStart: number;
    /** Bytes of the whole file. */
    readonly end: number;
};

export function encodeHeader(header: ArmtSnapshotHeader): Buffer {
    const json = Buffer.from(JSON.stringify(header), "utf8");
    const bytes = Buffer.alloc(align(fixedBytes + json.length));
    magic.copy(bytes);
    bytes.writeUInt32LE(snapshotVersion, 8);
    bytes.writeUInt32LE(json.length, 12);
    json.copy(bytes, fixedBytes);
    bytes.writeUInt32LE(headChecksum(bytes, json.length), 16);
    return bytes;
}

/**
 * Reads the length of the JSON from the fixed part of a file.
 * @throws {ArmtError} if it is not a snapshot, or has another format version
 */
export function readFixedPart(bytes: Buffer): number {
    if (bytes.length < fixedBytes || !bytes.subarray(0, 8).equals(magic))
        throw new DamagedSnapshotError("it is not a memory file, as `armt read` or `sequence.armt.save` write it");
    const version = bytes.readUInt32LE(8);
    if (version !== snapshotVersion)
        throw new ArmtError(`it has format version ${version}, and this package reads version ${snapshotVersion}`);
    const length = bytes.readUInt32LE(12);
    if (length > maxJsonBytes)
        throw new DamagedSnapshotError(
            `it is damaged: its header has ${length} bytes of JSON (at most ${maxJsonBytes})`
        );
    return length;
}

/**
 * Reads the header from the first bytes of a file.
 * @throws {ArmtError} if they are damaged
 */
export function decodeHeader(bytes: Buffer, path: string): HeaderLayout {
    const length = readFixedPart(bytes);
    const tokensStart = align(fixedBytes + length);
    if (bytes.length < tokensStart) throw new DamagedSnapshotError("it is damaged: it ends within its header");
    if (bytes.readUInt32LE(16) !== headChecksum(bytes, length))
        throw new DamagedSnapshotError("it is damaged: its header has a wrong checksum");
    if (bytes.subarray(fixedBytes + length, tokensStart).some((byte) => byte !== 0))
        throw new DamagedSnapshotError("it is damaged: its header is not padded with zeros");
    const header = readJson(
        new JsonFile(path, parseStrictJsonObject(decodeUtf8(bytes.subarray(fixedBytes, fixedBytes + length))))
    );
    const stateStart = align(tokensStart + (header.hasTokenIds ? 4 * header.tokensRead : 0));
    return { header, tokensStart, stateStart, end: stateStart + header.stateBytes };
}

function readJson(json: JsonFile): ArmtSnapshotHeader {
    const max = Number.MAX_SAFE_INTEGER;
    const text = (key: string) => json.require(key, json.string(key));
    const count = (key: string) => json.require(key, json.integer(key, { max }));
    const flag = (key: string) => json.require(key, json.boolean(key));
    const overflow = text("segmentOverflow");
    if (!isOverflow(overflow)) throw json.error("segmentOverflow", overflow, segmentOverflows.join(" or "));
    const kvTypes = json.get("kvTypes");
    if (!isPair(kvTypes)) throw json.error("kvTypes", kvTypes ?? null, "two types");
    // version 0.1 did not write it
    const stateType = json.string("stateType") ?? "f32";
    if (!isStateType(stateType)) throw json.error("stateType", stateType, stateTypes.join(", "));
    const source = json.object("source");
    const storeKey = json.get("storeKey") === undefined ? {} : { storeKey: textOf(json, "storeKey", ...hash) };
    return {
        fingerprint: textOf(json, "fingerprint", ...hash),
        segmentSize: count("segmentSize"),
        segmentOverflow: overflow,
        openSegmentLimit: count("openSegmentLimit"),
        kvTypes,
        stateType,
        tokensRead: count("tokensRead"),
        openTokens: count("openTokens"),
        segmentsClosed: count("segmentsClosed"),
        hasTokenIds: flag("hasTokenIds"),
        regular: flag("regular"),
        modelPath: text("modelPath"),
        created: textOf(json, "created", /^[\dTZ:.+-]{1,40}$/, "a time"),
        source: source === undefined ? undefined : readSource(source),
        ...storeKey,
        stateBytes: count("stateBytes"),
        bodyChecksum: count("bodyChecksum")
    };
}

function readSource(json: JsonFile): ArmtSnapshotSource {
    const max = Number.MAX_SAFE_INTEGER;
    return {
        name: json.require("name", json.string("name")),
        characters: json.require("characters", json.integer("characters", { max })),
        sha256: json.require("sha256", json.string("sha256")),
        complete: json.require("complete", json.boolean("complete"))
    };
}

const hash = [/^[0-9a-f]{64}$/, "64 hex digits"] as const;

/** A text that is shown as it is, so it has to have a known form. */
function textOf(json: JsonFile, key: string, form: RegExp, what: string): string {
    const text = json.require(key, json.string(key));
    if (!form.test(text)) throw json.error(key, text, what);
    return text;
}

function isPair(types: unknown): types is [string, string] {
    return (
        Array.isArray(types) &&
        types.length === 2 &&
        types.every((type) => typeof type === "string" && /^\w{1,20}$/.test(type))
    );
}

function isOverflow(text: string): text is ArmtSegmentOverflow {
    return (segmentOverflows as readonly string[]).includes(text);
}

function isStateType(text: string): text is ArmtStateType {
    return (stateTypes as readonly string[]).includes(text);
}

/** Checksum of the fixed part, without the checksum itself, and of the JSON. */
function headChecksum(bytes: Buffer, length: number): number {
    return crc32(bytes.subarray(fixedBytes, fixedBytes + length), crc32(bytes.subarray(0, 16)));
}

export function align(offset: number): number {
    return Math.ceil(offset / alignment) * alignment;
}
