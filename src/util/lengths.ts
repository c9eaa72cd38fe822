const units: Readonly<Record<string, number>> = { "": 1, k: 1024, m: 1024 ** 2 };

/**
 * Parses a length in human notation: `4096`, `4k` (× 1024), `1m` (× 1024²).
 * @throws {RangeError} for anything else
 */
export function parseLength(text: string): number {
    const [, digits, unit] = /^(\d+)([km]?)$/i.exec(text.trim()) ?? [];
    const value = Number(digits) * units[unit?.toLowerCase() ?? ""]!;
    if (digits === undefined || !Number.isSafeInteger(value) || value < 1)
        throw new RangeError(`${JSON.stringify(text)} is not a length; write 4096, 4k or 1m`);
    return value;
}

/** The shortest notation of a length. */
export function formatLength(tokens: number): string {
    if (tokens % units.m! === 0) return `${tokens / units.m!}m`;
    return tokens % units.k! === 0 ? `${tokens / units.k!}k` : String(tokens);
}
