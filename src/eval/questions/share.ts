/** Number of questions asked and of right answers; an answer can be partly right. */
export interface Share {
    readonly asked: number;
    readonly right: number;
    readonly recall: number;
}

/** @param scores of the answers, each from 0 (wrong) to 1 (right) */
export function shareOf(scores: readonly number[]): Share {
    const asked = scores.length;
    const right = scores.reduce((sum, score) => sum + score, 0);
    return { asked, right, recall: asked === 0 ? 0 : right / asked };
}

/** Wilson's 95 % score interval for the share `right / asked`. */
export function wilson(right: number, asked: number): [low: number, high: number] {
    if (asked === 0) return [0, 1];
    const z = 1.959964;
    const p = right / asked;
    const middle = p + (z * z) / (2 * asked);
    const spread = z * Math.sqrt((p * (1 - p)) / asked + (z * z) / (4 * asked * asked));
    const scale = 1 + (z * z) / asked;
    return [Math.max(0, (middle - spread) / scale), Math.min(1, (middle + spread) / scale)];
}

/** A share as the tables and pictures show it. */
export function percent(value: number): string {
    return `${(100 * value).toFixed(1)} %`;
}
