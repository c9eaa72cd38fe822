import { ApiError } from "./errors.js";

/** Counts the bytes of all bodies that are held at a time: they arrive faster than they are answered, and queued requests keep theirs. */
export class BodyBudget {
    private held = 0;

    constructor(private readonly maxBytes: number) {}

    get bytes(): number {
        return this.held;
    }

    /** @throws {ApiError} where all bodies together would be too many bytes */
    take(bytes: number): void {
        if (this.held + bytes > this.maxBytes)
            throw new ApiError(429, `the requests in flight hold ${this.held} bytes already; try again later`, {
                code: "bodies_full",
                retryAfter: 1
            });
        this.held += bytes;
    }

    give(bytes: number): void {
        this.held -= bytes;
    }
}
