import { count } from "./format.js";

const ascii = (text) => [...text].map((character) => character.charCodeAt(0));

/** Files that are no text, by their first bytes, and what to do with them. */
const foreign = [
    {
        bytes: ascii("%PDF-"),
        what: "a PDF",
        remedy: "Save its text first, e.g. with pdftotext, and drop the .txt file."
    },
    {
        bytes: [0x50, 0x4b, 0x03, 0x04],
        what: "an Office document, an e-book or another zip archive",
        remedy: "Open it, save it as plain text (.txt), and drop that file."
    },
    {
        bytes: [0xd0, 0xcf, 0x11, 0xe0],
        what: "an old Office document",
        remedy: "Open it, save it as plain text (.txt), and drop that file."
    },
    {
        bytes: ascii("{\\rtf"),
        what: "an RTF document",
        remedy: "Open it, save it as plain text (.txt), and drop that file."
    },
    { bytes: [0x1f, 0x8b], what: "compressed with gzip", remedy: "Unpack it, and drop what is in it." },
    { bytes: ascii("GGUF"), what: "a model file", remedy: "Serve it with: npx armt serve FILE" }
];

/** Text that a browser may hold as one piece before it is moved to a Blob. Unit: UTF-16 code units. */
const pieceLength = 2 ** 22;

/** Whether a file is a saved memory. */
export async function isMemoryFile(file) {
    return startsWith(await firstBytes(file), ascii("ARMTSNAP"));
}

/**
 * The text of a file in UTF-8. UTF-16 is converted if it starts with a byte order mark, as Windows writes it.
 * @param skip text to leave out at the beginning, in UTF-16 code units
 * @returns the body for an upload, and the length of the whole text in UTF-16 code units
 * @throws {Error} that names the file, says what is wrong with it, and what to do
 */
export async function readTextFile(file, { skip = 0, signal } = {}) {
    const start = await firstBytes(file);
    if (start.length === 0) throw new Error(`${file.name} is empty.`);
    const known = foreign.find(({ bytes }) => startsWith(start, bytes));
    if (known !== undefined) throw new Error(`${file.name} is ${known.what}, not a text. ${known.remedy}`);
    const encoding = startsWith(start, [0xff, 0xfe])
        ? "utf-16le"
        : startsWith(start, [0xfe, 0xff])
          ? "utf-16be"
          : "utf-8";
    const converts = encoding !== "utf-8" || skip > 0;
    const parts = [];
    let held = "";
    let characters = 0;
    for await (const text of decode(file, encoding, signal)) {
        const begin = Math.max(0, skip - characters);
        characters += text.length;
        if (!converts) continue;
        held += text.slice(begin);
        if (held.length < pieceLength) continue;
        parts.push(new Blob([held]));
        held = "";
    }
    return { body: converts ? new Blob([...parts, held]) : file, characters };
}

async function* decode(file, encoding, signal) {
    const decoder = new TextDecoder(encoding, { fatal: true });
    const reader = file.stream().getReader();
    let offset = 0;
    try {
        for (;;) {
            signal?.throwIfAborted();
            const { done, value } = await reader.read().catch((error) => {
                throw new Error(`${file.name} cannot be read any further. Drop it again.`, { cause: error });
            });
            let text;
            try {
                text = decoder.decode(value, { stream: !done });
            } catch {
                throw new Error(
                    `${file.name} is not a text in UTF-8 or UTF-16 (near byte ${count(offset)}). ` +
                        "Save it as UTF-8 and drop it again."
                );
            }
            if (text.includes("\0"))
                throw new Error(
                    `${file.name} is not a text: it has a NUL character near byte ${count(offset)}. ` +
                        "Save it as plain text in UTF-8 and drop it again."
                );
            if (text !== "") yield text;
            if (done) return;
            offset += value.length;
        }
    } finally {
        reader.cancel().catch(() => {});
    }
}

async function firstBytes(file) {
    try {
        return new Uint8Array(await file.slice(0, 16).arrayBuffer());
    } catch (error) {
        throw new Error(`${file.name} cannot be opened. Drop files, not folders, that are still where they were.`, {
            cause: error
        });
    }
}

function startsWith(start, bytes) {
    return bytes.every((byte, i) => start[i] === byte);
}
