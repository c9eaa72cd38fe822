import type { ArmtSnapshot } from "./ArmtSnapshot.js";

/** Snapshots in memory, the least recently used of which give way. */
export class SnapshotCache {
    // a Map keeps the order of insertion, so the first is the one unused for longest
    private readonly snapshots = new Map<string, ArmtSnapshot>();
    private held = 0;

    constructor(private readonly maxBytes: number) {}

    get bytes(): number {
        return this.held;
    }

    get entries(): number {
        return this.snapshots.size;
    }

    has(key: string): boolean {
        return this.snapshots.has(key);
    }

    get(key: string): ArmtSnapshot | undefined {
        const snapshot = this.take(key);
        if (snapshot !== undefined) this.insert(key, snapshot);
        return snapshot;
    }

    put(key: string, snapshot: ArmtSnapshot): void {
        this.take(key);
        if (snapshot.bytes > this.maxBytes) return;
        this.insert(key, snapshot);
        for (const oldest of this.snapshots.keys()) {
            if (this.held <= this.maxBytes) return;
            // not disposed: somebody may be restoring it
            this.take(oldest);
        }
    }

    clear(): void {
        this.snapshots.clear();
        this.held = 0;
    }

    private insert(key: string, snapshot: ArmtSnapshot): void {
        this.snapshots.set(key, snapshot);
        this.held += snapshot.bytes;
    }

    private take(key: string): ArmtSnapshot | undefined {
        const snapshot = this.snapshots.get(key);
        if (snapshot === undefined || !this.snapshots.delete(key)) return undefined;
        this.held -= snapshot.bytes;
        return snapshot;
    }
}
