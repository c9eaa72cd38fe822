/** Sizes of the buffers that gather small pieces: each is twice as large as the one before. Unit: bytes. */
const gatherSizes = { first: 2 ** 10, last: 2 ** 16 };

/** A piece of this size is kept as it is. Unit: bytes. */
const largePiece = 2 ** 15;

/**
 * Bytes that arrive in pieces. Each buffer belongs to nobody else, so that all of them can be transferred to a worker.
 * A transferred buffer leaves no garbage in the thread that received it.
 */
export class ByteCollector {
    private pieces: Uint8Array<ArrayBuffer>[] = [];
    private gathering: Uint8Array<ArrayBuffer> | undefined;
    private gathered = 0;
    private gatherSize = gatherSizes.first;
    private size = 0;

    get length(): number {
        return this.size;
    }

    push(piece: Uint8Array): void {
        this.size += piece.length;
        const isOwn = piece.buffer instanceof ArrayBuffer && piece.buffer.byteLength === piece.length;
        if (isOwn && piece.length >= largePiece) {
            this.endGathering();
            this.pieces.push(piece as Uint8Array<ArrayBuffer>);
            return;
        }
        for (let from = 0; from < piece.length; ) {
            this.gathering ??= new Uint8Array(this.gatherSize);
            const part = piece.subarray(from, from + this.gathering.length - this.gathered);
            this.gathering.set(part, this.gathered);
            this.gathered += part.length;
            from += part.length;
            if (this.gathered === this.gathering.length) this.endGathering();
        }
    }

    /** The bytes in order. The collector gives them away. */
    take(): Uint8Array<ArrayBuffer>[] {
        this.endGathering();
        const { pieces } = this;
        this.pieces = [];
        return pieces;
    }

    private endGathering(): void {
        if (this.gathering === undefined) return;
        this.pieces.push(this.gathering.subarray(0, this.gathered));
        this.gatherSize = Math.min(2 * this.gatherSize, gatherSizes.last);
        this.gathering = undefined;
        this.gathered = 0;
    }
}
