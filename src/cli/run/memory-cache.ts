import path from "node:path";
import process from "node:process";
import type { Argv } from "yargs";
import { ArmtMemoryStore } from "../../../plugin/index.js";
import { DamagedSnapshotError } from "../../../plugin/memory/snapshot-header.js";
import { userCacheFolder } from "../../util/cache-folder.js";
import { groups } from "../shared/option-groups.js";

/** Where memories are kept between runs. */
export interface CacheOptions {
    cache: boolean;
    cacheFolder?: string;
}

export function addCacheOptions(parser: Argv<object>): void {
    parser
        .option("cache", {
            type: "boolean",
            group: groups.segments,
            default: true,
            describe:
                "Reuse the memory of an earlier prompt with the same beginning, and save this one's; --no-cache " +
                "turns it off"
        })
        .option("cache-folder", {
            type: "string",
            group: groups.segments,
            describe: "Folder for it [default: node-llama-cpp-armt in the user's cache folder]"
        });
}

/**
 * The store of the command line. A run never fails for the want of one.
 * @param warn gets what is wrong, once
 */
export async function openCache(
    { cache, cacheFolder }: CacheOptions,
    warn: (message: string) => void
): Promise<ArmtMemoryStore | undefined> {
    if (!cache) return undefined;
    let warned = false;
    const onWarning = (error: Error) => {
        // a file that is not believed only means that its text is read again
        const effect = error.cause instanceof DamagedSnapshotError ? "" : "; continuing without a cache";
        if (!warned) warn(`${error.message}${effect}`);
        warned = true;
    };
    try {
        return await ArmtMemoryStore.open({ folder: cacheFolder ?? defaultCacheFolder(), onWarning });
    } catch (error) {
        onWarning(error as Error);
        return undefined;
    }
}

/** Where `armt run` keeps memories. */
export function defaultCacheFolder(env: NodeJS.ProcessEnv = process.env): string {
    return path.join(userCacheFolder(env), "memories");
}
