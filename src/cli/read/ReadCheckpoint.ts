import { createHash, type Hash } from "node:crypto";
import { rm } from "node:fs/promises";
import { type ArmtSequence, ArmtSnapshot } from "../../../plugin/index.js";
import { characterBefore } from "../../../plugin/memory/PieceTokenizer.js";
import { ArmtError, quote } from "../../util/errors.js";
import type { TextInput } from "../shared/text-input.js";

/** The part of a text that was read, by its length and hash, and where a reading that ends early leaves its memory. */
export class ReadCheckpoint {
    private hash: Hash = createHash("sha256");
    private characters = 0;
    private bytes = 0;
    /** The last character that was read. */
    private last = "";

    constructor(
        private readonly file: string,
        private readonly input: TextInput
    ) {}

    /** Text that was read. Unit: bytes of UTF-8. */
    get bytesRead(): number {
        return this.bytes;
    }

    get lastCharacter(): string {
        return this.last;
    }

    /** Notes text that was read. */
    add(text: string): void {
        if (text === "") return;
        this.hash.update(text, "utf8");
        this.characters += text.length;
        this.bytes += Buffer.byteLength(text, "utf8");
        this.last = characterBefore(text, text.length);
    }

    async save(armt: ArmtSequence): Promise<void> {
        await armt.save(this.file, { source: this.source(false) });
    }

    /** What the finished memory says about its text. */
    source(complete: boolean) {
        const sha256 = this.hash.copy().digest("hex");
        return { name: this.input.name, characters: this.characters, sha256, complete };
    }

    async remove(): Promise<void> {
        await rm(this.file, { force: true });
    }

    /**
     * Resumes an earlier run, if there is one: loads its memory, and skips the text that it has read.
     * @returns the rest of the text, and whether any was skipped
     * @throws {ArmtError} if the text is not the one of the earlier run
     */
    async resume(armt: ArmtSequence): Promise<{ rest: AsyncIterable<string>; resumed: boolean }> {
        const { source } = (await ArmtSnapshot.inspect(this.file).catch(() => undefined)) ?? {};
        if (source === undefined) return { rest: this.input.pieces, resumed: false };
        await armt.load(this.file).catch((error: Error) => {
            throw new ArmtError(`${error.message}; or read from the start with --restart`, { cause: error });
        });
        const iterator = this.input.pieces[Symbol.asyncIterator]();
        let left = "";
        while (this.characters < source.characters) {
            const next = await iterator.next();
            if (next.done) break;
            const wanted = source.characters - this.characters;
            this.add(next.value.slice(0, wanted));
            left = next.value.slice(wanted);
        }
        if (this.source(false).sha256 !== source.sha256)
            throw new ArmtError(
                `${quote(this.file)} is of another text than ` +
                    `${this.input.name === "-" ? "this" : quote(this.input.name)}; read from the start with --restart`
            );
        const rest = async function* () {
            if (left !== "") yield left;
            for (let next = await iterator.next(); !next.done; next = await iterator.next()) yield next.value;
        };
        return { rest: rest(), resumed: true };
    }
}
