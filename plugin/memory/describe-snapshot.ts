import { stat } from "node:fs/promises";
import { quote } from "../../src/util/errors.js";
import type { ArmtSnapshotHeader } from "../types.js";
import { readSnapshotHeader } from "./snapshot-file.js";
import { snapshotVersion } from "./snapshot-header.js";

/** The contents of a snapshot file, as text and as JSON. */
export class SnapshotDescription {
    constructor(
        private readonly path: string,
        private readonly size: number,
        private readonly header: ArmtSnapshotHeader
    ) {}

    toJson(): string {
        return JSON.stringify(
            { file: this.path, size: this.size, version: snapshotVersion, ...this.header },
            undefined,
            4
        );
    }

    toText(): string {
        const { header } = this;
        const { source } = header;
        const rows: [string, string][] = [
            ["file", quote(this.path)],
            ["size", `${this.size} bytes, snapshot version ${snapshotVersion}, created ${header.created}`],
            ["tokens", `${header.tokensRead} read, ids ${header.hasTokenIds ? "included" : "not included"}`],
            ["segments", `${header.segmentsClosed} closed, ${header.openTokens} tokens in the open one`],
            ["state", `${header.stateBytes} bytes`],
            [
                "made with",
                `segment size ${header.segmentSize}, overflow ${header.segmentOverflow}, ` +
                    `limit ${header.openSegmentLimit}, K/V ${header.kvTypes.join(" and ")}, memory ${header.stateType}`
            ],
            ["model", quote(header.modelPath)],
            ["fingerprint", header.fingerprint]
        ];
        if (source !== undefined)
            rows.push([
                "text",
                `${source.characters} characters of ${quote(source.name)}${source.complete ? "" : ", incomplete"}`
            ]);
        const width = Math.max(...rows.map(([label]) => label.length));
        return rows.map(([label, value]) => `    ${label.padEnd(width)}  ${value}\n`).join("");
    }
}

/**
 * Reads the header of a snapshot file.
 * @throws {ArmtError} that names the file and what is wrong with it
 */
export async function describeSnapshot(path: string): Promise<SnapshotDescription> {
    return new SnapshotDescription(path, (await stat(path)).size, await readSnapshotHeader(path));
}
