import { LRUCache } from "lru-cache";
import type { ArmtSnapshot } from "./ArmtSnapshot.js";

/** Snapshots in memory. The least recently used are dropped, but not disposed: they may be in use. */
export class SnapshotCache {
    private readonly snapshots: LRUCache<string, ArmtSnapshot> | undefined;

    /** @param maxBytes 0 keeps nothing */
    constructor(maxBytes: number) {
        // the library takes 0 to mean no limit
        if (maxBytes < 1) return;
        const maxSize = Math.min(Math.floor(maxBytes), Number.MAX_SAFE_INTEGER);
        this.snapshots = new LRUCache({ maxSize, sizeCalculation: ({ bytes }) => bytes });
    }

    get bytes(): number {
        return this.snapshots?.calculatedSize ?? 0;
    }

    get entries(): number {
        return this.snapshots?.size ?? 0;
    }

    has(key: string): boolean {
        return this.snapshots?.has(key) ?? false;
    }

    get(key: string): ArmtSnapshot | undefined {
        return this.snapshots?.get(key);
    }

    put(key: string, snapshot: ArmtSnapshot): void {
        this.snapshots?.set(key, snapshot);
    }

    clear(): void {
        this.snapshots?.clear();
    }
}
