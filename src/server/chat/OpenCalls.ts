/**
 * The calls of one message, and which of them have results. Servers exist that give several calls the same id, so there
 * may be as many results of an id as calls, and one is enough.
 */
export class OpenCalls {
    private readonly counts = new Map<string, { calls: number; results: number }>();

    /** The id of a call without a result. */
    get first(): string | undefined {
        for (const [id, { results }] of this.counts) if (results === 0) return id;
        return undefined;
    }

    /** Forgets the calls of the message before. */
    clear(): void {
        this.counts.clear();
    }

    add(id: string): void {
        const { calls = 0, results = 0 } = this.counts.get(id) ?? {};
        this.counts.set(id, { calls: calls + 1, results });
    }

    /** @returns whether there is a call that the result may answer */
    answer(id: string): boolean {
        const count = this.counts.get(id);
        if (count === undefined || count.results >= count.calls) return false;
        count.results++;
        return true;
    }
}
