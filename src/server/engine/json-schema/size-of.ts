/** Approximate size of a JSON value as text. Counting stops beyond the limit. Unit: UTF-16 code units. */
export function sizeOf(value: unknown, max: number): number {
    let size = 0;
    const add = (item: unknown): void => {
        if (size > max) return;
        size += typeof item === "string" ? item.length + 2 : 2;
        if (typeof item !== "object" || item === null) return;
        for (const [key, inside] of Object.entries(item)) {
            size += key.length + 2;
            add(inside);
        }
    };
    add(value);
    return size;
}
