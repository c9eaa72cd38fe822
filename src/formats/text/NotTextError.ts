import { ArmtError, quote } from "../../util/errors.js";

/** Why some bytes are not text. */
export interface NotText {
    /** What the bytes are, or what is wrong with them, such as `is a PDF document`. */
    readonly what: string;
    /** The first byte that shows it, counted from 0. */
    readonly offset: number;
    /** How to get text. */
    readonly remedy: string;
}

/** Reports input that is not text. The message names the byte and the remedy. */
export class NotTextError extends ArmtError {
    override name = "NotTextError";

    constructor(
        readonly reason: NotText,
        /** The input's file name; undefined if it has none. */
        input?: string
    ) {
        const { what, offset, remedy } = reason;
        super(`${input === undefined ? "the input" : quote(input)} ${what} (byte ${offset}); ${remedy}`);
    }
}
