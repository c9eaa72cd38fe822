import type { CustomBatchingPrioritizationStrategy } from "../../../plugin/index.js";

/** Part of a batch that long prompts get while anybody else is at work. */
const longShare = 1 / 4;

/**
 * Fills a batch so that a huge prompt delays no other request. Steps of answers and prompts that fit into a batch come
 * first, the shortest before the others. Longer prompts share a reserved quarter in equal parts, or the whole batch if
 * there is nothing else, so that they fill the diagonals that they share.
 */
export const fairBatching: CustomBatchingPrioritizationStrategy = ({ items, size }) => {
    if (items.length === 1) return [{ item: items[0]!, processAmount: Math.min(size, items[0]!.tokens.length) }];
    const ordered = [...items].sort((a, b) => a.tokens.length - b.tokens.length);
    const short = ordered.filter(({ tokens }) => tokens.length <= size);
    const longSize = short.length === 0 ? size : Math.max(1, Math.floor(size * longShare));
    const long = ordered.slice(short.length);
    let left = long.length > 0 ? size - longSize : size;
    const chosen = [];
    for (const item of short) {
        const processAmount = Math.min(item.tokens.length, left);
        if (processAmount === 0) break;
        chosen.push({ item, processAmount });
        left -= processAmount;
    }
    for (const item of long.slice(0, longSize))
        chosen.push({ item, processAmount: Math.max(1, Math.floor(longSize / long.length)) });
    return chosen;
};
