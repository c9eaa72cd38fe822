/** Approximate size of a JSON value as text. Counting stops beyond the limit. Unit: UTF-16 code units. */
export function sizeOf(value: unknown, max: number): number {
    let size = 0;
    const add = (item: unknown): void => {
        size += typeof item === "string" ? item.length + 2 : 2;
        if (typeof item !== "object" || item === null) return;
        // a list may have a hundred thousand parts, and its indices are not part of the text
        if (Array.isArray(item))
            for (const inside of item) {
                if (size > max) return;
                add(inside);
            }
        else
            for (const key of Object.keys(item)) {
                if (size > max) return;
                size += key.length + 2;
                add((item as Record<string, unknown>)[key]);
            }
    };
    add(value);
    return size;
}
