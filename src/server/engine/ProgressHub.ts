import { ApiError } from "../errors.js";

/** How far the reading of a document has come. */
export interface DocumentProgress {
    readonly tokens: number;
    /** UTF-16 code units. */
    readonly characters: number;
    readonly segments: number;
    readonly cells: number;
    readonly layers: number;
    readonly memory_bytes: number;
    readonly time_ms: number;
}

type Watcher = { readonly onProgress: (progress: DocumentProgress) => void; readonly onEnd: () => void };

/**
 * Passes the progress of uploads to those who watch them. Browsers show an answer only after they have sent the whole
 * request, so a page watches its upload through a second request, under a name that it chose.
 */
export class ProgressHub {
    private readonly watchers = new Map<string, Set<Watcher>>();
    private readonly uploads = new Map<string, AbortController>();

    /** @returns a signal that is aborted when the upload of this name is cancelled */
    begin(name: string | undefined): AbortSignal {
        const controller = new AbortController();
        if (name !== undefined) this.uploads.set(name, controller);
        return controller.signal;
    }

    /** @throws {ApiError} if no upload of this name is running */
    cancel(name: string): void {
        const controller = this.uploads.get(name);
        if (controller === undefined)
            throw new ApiError(404, "no upload of this name is running", { code: "upload_not_found" });
        controller.abort(new ApiError(409, "the upload was cancelled", { code: "upload_cancelled" }));
    }

    /** @returns what ends the watching */
    watch(name: string, watcher: Watcher): () => void {
        const all = this.watchers.get(name) ?? new Set();
        this.watchers.set(name, all.add(watcher));
        return () => {
            all.delete(watcher);
            if (all.size === 0) this.watchers.delete(name);
        };
    }

    report(name: string | undefined, progress: DocumentProgress): void {
        if (name === undefined) return;
        for (const { onProgress } of this.watchers.get(name) ?? []) onProgress(progress);
    }

    end(name: string | undefined): void {
        if (name === undefined) return;
        this.uploads.delete(name);
        for (const { onEnd } of this.watchers.get(name) ?? []) onEnd();
    }
}
