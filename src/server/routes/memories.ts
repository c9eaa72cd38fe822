import type { RequestHandler, Response } from "express";
import type { Token } from "../../../plugin/index.js";
import { type FeedPiece, tokenizeSource } from "../../../plugin/memory/feed.js";
import type { StoredMemory } from "../engine/MemoryRegistry.js";
import { ApiError, toApiError } from "../errors.js";
import { EventStream, lastEvent } from "../event-stream.js";
import { checkEncoding } from "../json-body.js";
import { modelOf, type Wanted, withModel } from "../models/with-model.js";
import { readFormFile } from "../multipart.js";
import { ClientGoneError, requestSignal } from "../request-signal.js";
import type { ModelServer, Server } from "../Server.js";
import { maxNameLength, memoryQuerySchema } from "../schemas/other.js";
import { TextHash } from "../TextHash.js";
import { Upload } from "../Upload.js";
import { validate } from "../validate.js";

/** Time between two progress events. Unit: milliseconds. */
const progressInterval = 100;

/** `POST /v1/armt/memories`: the body is a text of any length, which is read as it arrives. */
export function createMemory(server: Server): RequestHandler {
    return async (request, response) => {
        const { registry, limits, log, hub, ending } = server;
        const { name, from, watch, stream: wantsStream, model } = validate(memoryQuerySchema, { ...request.query });
        const base = from === undefined ? undefined : registry.get(from, "from");
        const id = memoryModelOf(server, { model, memory: base });
        if (!request.is(["text/plain", "multipart/form-data"]))
            throw new ApiError(
                415,
                "the body must be the document, with the header Content-Type: text/plain, or a form with a `file`"
            );
        checkEncoding(request);
        const loaded = server.models.peek(id)?.engine;
        registry.checkRoom(base?.snapshot.bytes ?? loaded?.context.armt?.memoryBytes ?? 0);
        loaded?.pool.checkRoom({ isDocument: true });
        const { signal: ofRequest, done } = requestSignal(response, limits.requestTimeoutMs, ending.signal);
        const signal = AbortSignal.any([ofRequest, hub.begin(watch)]);
        const { pingIntervalMs } = limits;
        const upload = new Upload(request, server.uploads, limits);
        const stream = wantsStream === "true" ? new EventStream(response, { pingIntervalMs, signal }) : undefined;
        try {
            stream?.begin();
            const form = request.is("multipart/form-data")
                ? readFormFile(request.headers, upload.bytes(signal))
                : undefined;
            const document = {
                nameOf: () => name ?? form?.name?.slice(0, maxNameLength),
                text: upload.text(name, signal, form?.bytes)
            };
            const options = { base, signal, stream, watch };
            const read = (server: ModelServer) => readDocument(server, document, options);
            const memory = await withModel(server, id, signal, read, true);
            if (stream === undefined) sendMemory(response, memory);
            else {
                await stream.send({ memory: describeMemory(memory) });
                stream.end(lastEvent);
            }
        } catch (error) {
            if (signal.reason instanceof ClientGoneError) {
                server.metrics.cancelled.inc();
                return;
            }
            if (!stream?.open) throw error;
            if (!(error instanceof ApiError)) log.error({ err: error, url: request.path }, "upload failed");
            stream.end(toApiError(error).body);
        } finally {
            upload.dispose();
            stream?.dispose();
            hub.end(watch);
            done();
        }
    };
}

/** `GET /v1/armt/memories` */
export function listMemories({ registry }: Server): RequestHandler {
    return (_request, response) => {
        response.json({ object: "list", data: registry.list().map(describeMemory) });
    };
}

/** `GET /v1/armt/memories/{id}` */
export function getMemory({ registry }: Server): RequestHandler {
    return (request, response) => {
        response.json(describeMemory(registry.get(String(request.params.id))));
    };
}

/** `DELETE /v1/armt/memories/{id}` */
export function deleteMemory({ registry }: Server): RequestHandler {
    return (request, response) => {
        const id = String(request.params.id);
        registry.delete(id);
        response.json({ id, object: "armt.memory.deleted", deleted: true });
    };
}

/**
 * The model that a memory is for.
 * @throws {ApiError} if it is a plain one, beside {@link modelOf}
 */
export function memoryModelOf(server: Server, wanted: Wanted): string {
    const id = modelOf(server, wanted);
    if (server.facts.get(id)!.armt === undefined)
        throw new ApiError(501, `${id} is not an ARMT model, so it has no memory`);
    return id;
}

export function sendMemory(response: Response, memory: StoredMemory): void {
    response.status(201).json(describeMemory(memory));
}

export function describeMemory({ id, name, model, createdAt, status, snapshot, characters }: StoredMemory) {
    return {
        id,
        object: "armt.memory",
        name: name ?? null,
        model,
        created_at: createdAt,
        status,
        tokens: snapshot.tokensRead,
        characters,
        segments: snapshot.segmentsClosed,
        bytes: snapshot.bytes
    };
}

interface UploadedDocument {
    /** Its name, which a form gives with the first bytes. */
    nameOf: () => string | undefined;
    text: AsyncIterable<string>;
}

interface DocumentOptions {
    base: StoredMemory | undefined;
    signal: AbortSignal;
    stream: EventStream | undefined;
    watch: string | undefined;
}

/** Reads a document in its own sequence. If the upload ends early, the part so far becomes a partial memory. */
async function readDocument(
    server: ModelServer,
    document: UploadedDocument,
    { base, signal, stream, watch }: DocumentOptions
): Promise<StoredMemory> {
    const { engine, registry, hub } = server;
    return await engine.pool.useForDocument(signal, async (sequence) => {
        const armt = sequence.armt!;
        if (base === undefined) await sequence.clearHistory();
        else await armt.restore(base.snapshot);
        const started = performance.now();
        let characters = base?.characters ?? 0;
        const hash = new TextHash(base);
        let unread: readonly Token[] = base?.unread ?? [];
        let reported = 0;
        let held = armt.tokens;
        const report = async (isLast: boolean) => {
            if (!isLast && performance.now() - reported < progressInterval) return;
            reported = performance.now();
            const progress = {
                tokens: armt.tokens,
                characters,
                segments: armt.segmentsClosed,
                cells: armt.cells,
                layers: engine.model.armt!.layers,
                memory_bytes: armt.memoryBytes,
                time_ms: Math.round(performance.now() - started)
            };
            hub.report(watch, progress);
            stream?.offer({ progress });
        };
        const take = ({ ids, characters: count }: FeedPiece) => {
            unread = [...unread, ...ids];
            characters += count;
            hash.advance(count);
        };
        const readTaken = async () => {
            while (unread.length > 0) {
                signal.throwIfAborted();
                const batch = unread.slice(0, engine.context.batchSize);
                try {
                    await armt.feed([batch], { signal });
                } finally {
                    unread = unread.slice(armt.tokens - held);
                    held = armt.tokens;
                }
                await report(false);
            }
        };
        const keep = async (status: StoredMemory["status"]) => {
            const snapshot = await armt.snapshot();
            return registry.add({
                name: document.nameOf(),
                model: engine.modelId,
                status,
                snapshot,
                unread,
                characters,
                hash: hash.current
            });
        };
        const text = hash.observe(document.text);
        const pieces = tokenizeSource(engine.model, text, sequence.nextTokenIndex === 0);
        let isWhole = true;
        try {
            await readTaken();
            for (let next = await pieces.next(); !next.done; next = await pieces.next()) {
                take(next.value);
                isWhole = next.value.characters > 0;
                await readTaken();
            }
            if (armt.tokens === 0) throw new ApiError(400, "the document is empty");
            await report(true);
        } catch (error) {
            if (armt.tokens > (base?.snapshot.tokensRead ?? 0) && isInterruption(error, signal)) {
                // the length of a text comes with its last tokens, which have arrived by then
                while (!isWhole) {
                    const next = await pieces.next();
                    if (next.done) break;
                    take(next.value);
                    isWhole = next.value.characters > 0;
                }
                await keep("partial");
            }
            throw error;
        }
        return await keep("complete");
    });
}

/** Whether an upload ended early because of the connection or the deadline. */
function isInterruption(error: unknown, signal: AbortSignal): boolean {
    return signal.aborted || (error instanceof ApiError && error.status === 408);
}
