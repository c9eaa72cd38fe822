import { ApiError } from "./errors.js";

/** Nesting that a request may have; the API's deepest, a tool's schema, needs about 20. */
const maxDepth = 64;

/** Numbers and other values of a body. A prompt of token ids has the most: this is a prompt of a million tokens. */
const maxValues = 2 ** 20;

/** Objects, lists and strings of a body. A chat of ten thousand messages has about half as many. */
const maxParts = 100_000;

/** Numbers that JavaScript cannot represent. Each of them has to be put back into the parsed body. */
const maxLongNumbers = 10_000;

/** Number of digits that every JavaScript number keeps. */
const safeDigits = 15;

/** Digits of an exponent that every JavaScript number can have. */
const safeExponentDigits = 2;

/**
 * Counts the parts of a JSON text while it arrives, so that one that is too costly is refused before it is parsed. It
 * does not check that the text is JSON.
 */
export class BodyScan {
    private depth = 0;
    private digits = 0;
    private values = 0;
    private parts = 0;
    private longNumbers = 0;
    private inString = false;
    private isEscaped = false;
    private last = 0;
    private hasPoint = false;
    private hasOtherNumber = false;

    /** Whether JavaScript may write a number otherwise than it is in the text: a long one, `1.0` or `1e5`. */
    get hasLongNumber(): boolean {
        return this.longNumbers > 0 || this.hasOtherNumber;
    }

    /** @throws {ApiError} if the text is nested too deeply or has too many parts */
    push(bytes: Uint8Array): void {
        let { inString, isEscaped, digits, last, hasPoint } = this;
        let slash = bytes.indexOf(0x5c);
        let quote = bytes.indexOf(0x22);
        for (let i = 0; i < bytes.length; i++) {
            if (isEscaped) {
                isEscaped = false;
                continue;
            }
            if (inString) {
                // a search is far faster than a look at each byte
                if (quote >= 0 && quote < i) quote = bytes.indexOf(0x22, i);
                if (slash >= 0 && slash < i) slash = bytes.indexOf(0x5c, i);
                isEscaped = slash >= 0 && (quote < 0 || slash < quote);
                inString = isEscaped || quote < 0;
                if (!isEscaped && quote < 0) break;
                i = isEscaped ? slash : quote;
                continue;
            }
            const byte = bytes[i]!;
            if (byte >= 0x30 && byte <= 0x39) {
                digits++;
                last = byte;
                if (digits === safeDigits + 1) this.longNumbers++;
                continue;
            }
            // a point or a sign within a number
            if (byte === 0x2e) hasPoint = true;
            if (byte === 0x2e || byte === 0x2b || byte === 0x2d) continue;
            if ((byte === 0x65 || byte === 0x45) && digits > 0) {
                digits = safeDigits - safeExponentDigits;
                this.hasOtherNumber = true;
                continue;
            }
            if (hasPoint && last === 0x30) this.hasOtherNumber = true;
            hasPoint = false;
            last = 0;
            digits = 0;
            if (byte === 0x22) {
                inString = true;
                this.parts++;
            } else if (byte === 0x5b || byte === 0x7b) {
                this.parts++;
                if (++this.depth > maxDepth)
                    throw new ApiError(400, `the JSON is nested more than ${maxDepth} levels deep`);
            } else if (byte === 0x5d || byte === 0x7d) this.depth--;
            else if (byte === 0x2c) this.values++;
        }
        Object.assign(this, { inString, isEscaped, digits, last, hasPoint });
        this.check(this.values, maxValues, "values; upload a longer document to POST /v1/armt/memories");
        this.check(this.parts, maxParts, "objects, lists and strings");
        this.check(this.longNumbers, maxLongNumbers, `numbers of more than ${safeDigits} digits, or exponents of 3`);
    }

    private check(count: number, max: number, what: string): void {
        if (count > max) throw new ApiError(413, `the JSON has more than ${max} ${what}`, { code: "body_too_large" });
    }
}
