/** What one device needs for a step of the diagonal schedule. Unit: milliseconds. */
export interface StepTime {
    /** Of every step, however many cells it has. */
    readonly step: number;
    /** Of each of its cells. */
    readonly cell: number;
}

/** Devices that read a text together, each with consecutive layers. */
export interface Pipeline {
    /** Number of layers of each device. */
    readonly layers: readonly number[];
    /** Number of segments of the text. */
    readonly segments: number;
    readonly time: StepTime;
    /** Time of one segment's rows from a device to the next. Unit: milliseconds. */
    readonly transfer: number;
}

export interface Reading {
    /** Time of the whole text. Unit: milliseconds. */
    readonly total: number;
    /** Part of that time in which each device computes. From 0 to 1. */
    readonly busy: number[];
}

/**
 * Simulates the diagonal schedule (Diagonal Batching, arXiv 2506.05229, section 4) on several devices. In step k,
 * layer l computes segment k - l. A device begins its part of a step when its part of the last one has ended and the
 * rows of the device before are there.
 */
export function simulate({ layers, segments, time, transfer }: Pipeline): Reading {
    const first = layers.map((_, device) => layers.slice(0, device).reduce((sum, count) => sum + count, 0));
    const steps = segments + layers.reduce((sum, count) => sum + count, 0) - 1;
    const worked = layers.map(() => 0);
    /** When the link to each device is free again, and when its rows are there. */
    const arrived = layers.map(() => 0);
    let ends = layers.map(() => 0);
    for (let k = 0; k < steps; k++) {
        const now = [...ends];
        for (const [device, count] of layers.entries()) {
            // layers whose segment k - l exists
            const from = Math.max(first[device]!, k - segments + 1);
            const cells = Math.min(first[device]! + count, k + 1) - from;
            if (cells <= 0) continue;
            const needsRows = device > 0 && from === first[device];
            if (needsRows) arrived[device] = Math.max(arrived[device]!, ends[device - 1]!) + transfer;
            const begin = needsRows ? Math.max(ends[device]!, arrived[device]!) : ends[device]!;
            const work = time.step + cells * time.cell;
            now[device] = begin + work;
            worked[device]! += work;
        }
        ends = now;
    }
    const total = Math.max(...ends);
    return { total, busy: worked.map((work) => work / total) };
}

/** Layers in parts that are as equal as they can be, the larger ones first. */
export function evenly(layers: number, devices: number): number[] {
    return Array.from({ length: devices }, (_, i) => Math.floor((layers + devices - 1 - i) / devices));
}

/**
 * Finds the time of a step and of a cell by least squares from readings on one device.
 * @param readings at least two, with different numbers of segments
 * @throws {RangeError} if they are fewer
 */
export function fitStepTime(layers: number, readings: readonly { segments: number; milliseconds: number }[]): StepTime {
    // milliseconds = step * (segments + layers - 1) + cell * segments * layers; each reading counts relatively
    const rows = readings.map(({ segments, milliseconds }) => ({
        x: (segments + layers - 1) / milliseconds,
        y: (segments * layers) / milliseconds
    }));
    const sum = (value: (row: { x: number; y: number }) => number) => rows.reduce((all, row) => all + value(row), 0);
    const [xx, xy, yy] = [sum(({ x }) => x * x), sum(({ x, y }) => x * y), sum(({ y }) => y * y)];
    const [x1, y1] = [sum(({ x }) => x), sum(({ y }) => y)];
    const determinant = xx * yy - xy * xy;
    if (!(determinant > 1e-9 * xx * yy)) throw new RangeError("readings of different lengths are needed");
    const step = (x1 * yy - y1 * xy) / determinant;
    // cells that are cheaper one at a time than together
    if (step < 0) return { step: 0, cell: y1 / yy };
    return { step, cell: (xx * y1 - xy * x1) / determinant };
}
