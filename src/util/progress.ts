import { Presets, SingleBar } from "cli-progress";

/** What a bar is drawn on. */
export type ProgressStream = NodeJS.WritableStream & { isTTY?: boolean };

export type ProgressBar = {
    update(done: number, total: number): void;
    /** Leaves the terminal clean. May be called twice. */
    stop(): void;
};

/** A progress bar on standard error where that is a terminal, nothing elsewhere. `label` stands in front of it. */
export function createProgressBar(label: string, stream: ProgressStream = process.stderr): ProgressBar {
    if (!stream.isTTY) return { update() {}, stop() {} };
    const bar = new SingleBar(
        {
            format: `${label} {bar} {percentage}% | {duration_formatted} | {eta_formatted} left`,
            stream,
            clearOnComplete: true,
            hideCursor: true
        },
        Presets.shades_classic
    );
    let started = false;
    return {
        update(done, total) {
            if (!started) bar.start(total, done);
            else bar.update(done);
            started = true;
        },
        stop() {
            if (started) bar.stop();
        }
    };
}
