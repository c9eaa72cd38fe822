const numbers = new Intl.NumberFormat("en");

export const count = (value) => numbers.format(value);

/** "1 token", "2 tokens" */
export const plural = (value, noun) => `${count(value)} ${noun}${value === 1 ? "" : "s"}`;

export function bytes(size) {
    const units = ["bytes", "KiB", "MiB", "GiB"];
    const unit = size > 0 ? Math.min(3, Math.floor(Math.log2(size) / 10)) : 0;
    return `${(size / 1024 ** unit).toFixed(unit === 0 ? 0 : 1)} ${units[unit]}`;
}
