import type { CustomBatchingPrioritizationStrategy } from "../../../plugin/index.js";

/** Part of a batch that prompts get while answers are being written. */
const prefillShare = 1 / 4;

/** Tokens up to which an item is a step of an answer, or a prompt so short that it may go along with one. */
const shortItem = 32;

/**
 * Fills a batch so that a huge prompt holds nobody up: steps of answers and short prompts go first and whole; longer ones share what is left, in equal parts
 * and no more than a quarter of the batch while anybody else waits. A prompt that is alone gets all of it.
 */
export const fairBatching: CustomBatchingPrioritizationStrategy = ({ items, size }) => {
    const ordered = [...items].sort((a, b) => a.tokens.length - b.tokens.length);
    const isAlone = items.length === 1;
    const chosen = [];
    let left = size;
    let long = ordered.filter(({ tokens }) => tokens.length > shortItem).length;
    const longSize = isAlone ? size : Math.max(1, Math.floor(size * prefillShare));
    let longLeft = longSize;
    for (const item of ordered) {
        if (left === 0) break;
        const isLong = item.tokens.length > shortItem;
        const part = isLong ? Math.max(1, Math.floor(longLeft / long)) : item.tokens.length;
        const processAmount = Math.min(item.tokens.length, part, left);
        if (isLong) {
            long--;
            longLeft -= processAmount;
        }
        left -= processAmount;
        chosen.push({ item, processAmount });
    }
    return chosen;
};
