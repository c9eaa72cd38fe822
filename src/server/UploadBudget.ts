/** Share of the budget that one upload may take. */
const share = 1 / 4;

/** Counts the bytes of all uploads that have arrived and are not read yet. */
export class UploadBudget {
    private held = 0;

    constructor(private readonly maxBytes: number) {}

    get bytes(): number {
        return this.held;
    }

    /**
     * Counts bytes that have arrived.
     * @param ofUpload what their upload holds now
     * @returns whether that upload may receive more
     */
    take(bytes: number, ofUpload: number): boolean {
        this.held += bytes;
        return this.hasRoom(ofUpload);
    }

    give(bytes: number): void {
        this.held -= bytes;
    }

    /** @param ofUpload what the upload holds */
    hasRoom(ofUpload: number): boolean {
        return this.held < this.maxBytes && ofUpload < this.maxBytes * share;
    }
}
