/** Takes the white space from the start of a text that comes in pieces: an answer's first token often has one. */
export function leadingSpaceTrimmer(): (piece: string) => string {
    let started = false;
    return (piece) => {
        const text = started ? piece : piece.trimStart();
        started ||= text !== "";
        return text;
    };
}
