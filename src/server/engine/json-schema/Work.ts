/**
 * Steps that one grammar may take to compile, such as an edge that is followed or a name that is compared. They are
 * counted, not timed, so that every machine accepts the same schemas. One core takes about 50 ms for them.
 */
const maxSteps = 300_000;

/** Steps of a grammar that is compiled on the event loop, which take about 5 ms. */
export const stepsAtOnce = 30_000;

/** A grammar takes too many steps to compile. */
export class WorkError extends Error {
    override name = "WorkError";
}

let current: Work | undefined;

/** The steps that are left for a grammar. */
export class Work {
    private readonly paid = new Map<object, Set<string>>();

    constructor(private left = maxSteps) {}

    /** Whether more steps were needed than there were. */
    get isSpent(): boolean {
        return this.left < 0;
    }

    /** Runs a function, whose calls of {@link spend} count here. */
    during<Result>(run: () => Result): Result {
        const outer = current;
        current = this;
        try {
            return run();
        } finally {
            current = outer;
        }
    }

    /**
     * Counts the steps of an owner's key once.
     * @throws {WorkError}
     */
    spendOnce(owner: object, key: string, steps: number): void {
        const keys = this.paid.get(owner) ?? new Set();
        this.paid.set(owner, keys);
        if (keys.has(key)) return;
        keys.add(key);
        this.spend(steps);
    }

    /** @throws {WorkError} */
    spend(steps: number): void {
        this.left -= steps;
        if (this.left < 0) throw new WorkError();
    }
}

/**
 * Counts steps of the grammar that is being compiled.
 * @throws {WorkError} if they are too many
 */
export function spend(steps: number): void {
    current?.spend(steps);
}

/**
 * Counts the steps for a key of an owner, once for the grammar that is being compiled.
 * @throws {WorkError} if they are too many
 */
export function spendOnce(owner: object, key: string, steps: number): void {
    current?.spendOnce(owner, key, steps);
}

/** Makes a result and counts its steps, so that a result that is kept costs the same each time. */
export function measured<Result>(make: () => Result): { readonly result: Result; readonly steps: number } {
    let steps = 0;
    const outer = current;
    const counter = new Work(Number.POSITIVE_INFINITY);
    counter.spend = (more) => {
        steps += more;
        outer?.spend(more);
    };
    return { result: counter.during(make), steps };
}
