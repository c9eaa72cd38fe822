/** A block is copied within a millisecond, while a copy of a whole body would block the event loop. Unit: bytes. */
const blockSize = 2 ** 20;

/** Collects the pieces of a body as they arrive, in blocks that can be transferred to another thread. */
export class BodyBlocks {
    private readonly blocks: Uint8Array<ArrayBuffer>[] = [];
    private pieces: Uint8Array[] = [];
    private size = 0;

    push(piece: Uint8Array): void {
        this.pieces.push(piece);
        this.size += piece.length;
        if (this.size >= blockSize) this.close();
    }

    end(): readonly Uint8Array<ArrayBuffer>[] {
        this.close();
        return this.blocks;
    }

    private close(): void {
        // not from the pool of Node's buffers, which cannot be transferred
        const block = Buffer.allocUnsafeSlow(this.size);
        let at = 0;
        for (const piece of this.pieces) {
            block.set(piece, at);
            at += piece.length;
        }
        this.blocks.push(block);
        this.pieces = [];
        this.size = 0;
    }
}
