import { mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import type { RequestHandler } from "express";
import { ArmtError, ArmtSnapshot, type ArmtSnapshotInfo, type ArmtSnapshotSource } from "../../../plugin/index.js";
import { encodeSnapshot, readSnapshotFile } from "../../../plugin/memory/snapshot-file.js";
import { findMismatch } from "../../../plugin/memory/snapshot-origin.js";
import { quote, systemErrorText } from "../../util/errors.js";
import type { MemoryRegistry, StoredMemory } from "../engine/MemoryRegistry.js";
import { ApiError } from "../errors.js";
import { checkEncoding } from "../json-body.js";
import { withModel } from "../models/with-model.js";
import { readFormFile } from "../multipart.js";
import { ClientGoneError, requestSignal } from "../request-signal.js";
import type { ModelServer, Server } from "../Server.js";
import { memoryFileQuerySchema } from "../schemas/other.js";
import { Upload } from "../Upload.js";
import { validate } from "../validate.js";
import { memoryModelOf, sendMemory } from "./memories.js";

/** `GET /v1/armt/memories/{id}/file`: the memory as a file that `armt ask` and `armt read` take. */
export function saveMemory(server: Server): RequestHandler {
    return async (request, response) => {
        const { registry, limits, ending, loopback } = server;
        const memory = registry.get(String(request.params.id));
        const { signal, done } = requestSignal(response, limits.requestTimeoutMs, ending.signal);
        try {
            const whole =
                memory.unread.length === 0
                    ? memory.snapshot
                    : await withModel(server, memory.model, signal, (server) => readRest(server, memory, signal), true);
            const { header, ...rest } = whole.parts;
            // others need not know where this machine keeps its models
            const modelPath = loopback ? header.modelPath : "";
            const parts = encodeSnapshot({ ...rest, header: { ...header, modelPath, source: sourceOf(memory) } });
            response.attachment(`${memory.name ?? memory.id}.armt`);
            response.type("application/octet-stream");
            response.set("Content-Length", String(parts.reduce((sum, { length }) => sum + length, 0)));
            for (const part of parts) response.write(part);
            response.end();
        } catch (error) {
            if (signal.reason instanceof ClientGoneError) return;
            throw error;
        } finally {
            done();
        }
    };
}

/** `POST /v1/armt/memories/file`: the body is a memory file, of `armt read` or of {@link saveMemory}. */
export function loadMemory(server: Server): RequestHandler {
    return async (request, response) => {
        const { registry, limits, ending, metrics } = server;
        const { name: given, model } = validate(memoryFileQuerySchema, { ...request.query });
        const wanted = model === undefined ? undefined : memoryModelOf(server, { model });
        if (![...server.facts.values()].some(({ armt }) => armt !== undefined))
            throw new ApiError(501, `${server.models.ids[0]} is not an ARMT model, so it has no memory`);
        if (!request.is(["application/octet-stream", "multipart/form-data"]))
            throw new ApiError(
                415,
                "the body must be a memory file, with the header Content-Type: application/octet-stream, or a form " +
                    "with a `file`"
            );
        checkEncoding(request);
        registry.checkRoom(Number(request.headers["content-length"] ?? 0));
        const { signal, done } = requestSignal(response, limits.requestTimeoutMs, ending.signal);
        const upload = new Upload(request, server.uploads, limits);
        let folder: string | undefined;
        try {
            folder = await mkdtemp(path.join(tmpdir(), "armt-memory-")).catch(refuseUpload);
            const file = path.join(folder, "memory.armt");
            const body = upload.bytes(signal);
            const form = request.is("multipart/form-data") ? readFormFile(request.headers, body) : undefined;
            await receive(form?.bytes ?? body, file, registry).catch(refuseUpload);
            const id = wanted ?? (await readerOf(server, file));
            const snapshot = await withModel(server, id, signal, (server) => readMemory(server, file, signal));
            const { source } = snapshot;
            const memory = registry.add({
                name: given ?? source?.name,
                model: id,
                status: source?.complete === false ? "partial" : "complete",
                snapshot,
                unread: [],
                characters: source?.characters ?? 0,
                hash: undefined
            });
            sendMemory(response, memory);
        } catch (error) {
            if (!(signal.reason instanceof ClientGoneError)) throw error;
            metrics.cancelled.inc();
        } finally {
            upload.dispose();
            if (folder !== undefined) await rm(folder, { recursive: true, force: true });
            done();
        }
    };
}

/** A memory of all tokens that were made of the text: a file's text has to end where its tokens do. */
async function readRest(
    { engine }: ModelServer,
    { snapshot, unread }: StoredMemory,
    signal: AbortSignal
): Promise<ArmtSnapshot> {
    return await engine.pool.useForDocument(signal, async ({ armt }) => {
        await armt!.restore(snapshot);
        await armt!.feed([unread], { signal });
        return await armt!.snapshot();
    });
}

function sourceOf({ name, id, status, snapshot, characters, hash }: StoredMemory): ArmtSnapshotSource | undefined {
    if (hash === undefined) return snapshot.source;
    const sha256 = hash.copy().digest("hex");
    return { name: name ?? id, characters, sha256, complete: status === "complete" };
}

/** The model that read a memory file, or the default one, which says why it cannot use the file. */
async function readerOf({ facts, models }: Server, file: string): Promise<string> {
    const header = await ArmtSnapshot.inspect(file).catch(() => undefined);
    const fits = (id: string) => {
        const { armt } = facts.get(id)!;
        return (
            header !== undefined &&
            [armt?.fingerprint, ...(armt?.earlierFingerprints ?? [])].includes(header.fingerprint)
        );
    };
    return models.ids.find(fits) ?? models.ids.find((id) => facts.get(id)!.armt !== undefined)!;
}

/** @throws {ApiError} if the server's disk is why an upload cannot be kept */
function refuseUpload(error: unknown): never {
    if (!(error instanceof Error) || !("syscall" in error)) throw error;
    const reason = systemErrorText(error);
    throw new ApiError(507, `the server cannot keep the upload in its folder for temporary files (TMPDIR): ${reason}`);
}

/** @throws {ApiError} if the file is larger than the memories may become */
async function receive(bytes: AsyncIterable<Buffer>, file: string, registry: MemoryRegistry): Promise<void> {
    const handle = await open(file, "wx", 0o600);
    try {
        let size = 0;
        for await (const piece of bytes) {
            size += piece.length;
            registry.checkRoom(size);
            await handle.writeFile(piece);
        }
    } finally {
        await handle.close();
    }
}

/** @throws {ApiError} if it is not a memory file, is damaged, or belongs to another model or other options */
async function readMemory({ engine }: ModelServer, file: string, signal: AbortSignal): Promise<ArmtSnapshot> {
    const { origin } = engine.context.armt!;
    const { earlierFingerprints } = engine.model.armt!;
    try {
        const accept = (header: ArmtSnapshotInfo) => {
            const mismatch = findMismatch(header, origin, earlierFingerprints);
            if (mismatch !== undefined) throw new ArmtError(mismatch);
        };
        const snapshot = new ArmtSnapshot(await readSnapshotFile(file, { accept, signal }));
        // only the engine knows whether a state with a right checksum is one
        await engine.pool.useForDocument(signal, async ({ armt }) => await armt!.restore(snapshot));
        return snapshot;
    } catch (error) {
        if (!(error instanceof ArmtError)) throw error;
        const reason = error.message.replace(`cannot load ${quote(file)}: `, "").replaceAll(quote(file), "the file");
        throw new ApiError(400, `the memory file cannot be loaded: ${reason}`, { code: "invalid_memory_file" });
    }
}
