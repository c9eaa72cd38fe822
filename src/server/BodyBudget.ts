import { ApiError } from "./errors.js";

/**
 * Counts the bytes of all request bodies in memory. Bodies arrive faster than answers are written, and queued requests
 * keep theirs.
 */
export class BodyBudget {
    private held = 0;

    constructor(private readonly maxBytes: number) {}

    get bytes(): number {
        return this.held;
    }

    /** @throws {ApiError} if all bodies together would exceed the limit */
    take(bytes: number): void {
        if (this.held + bytes > this.maxBytes)
            throw new ApiError(429, `the bodies of open requests take ${this.held} bytes already; try again later`, {
                code: "bodies_full",
                retryAfter: 1
            });
        this.held += bytes;
    }

    give(bytes: number): void {
        this.held -= bytes;
    }
}
