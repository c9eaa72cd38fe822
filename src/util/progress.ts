import { Presets, SingleBar } from "cli-progress";

/** The stream that a bar is drawn on. */
export type ProgressStream = NodeJS.WritableStream & { isTTY?: boolean };

export type ProgressBar = {
    update(done: number, total: number): void;
    /** Clears the bar from the terminal. May be called twice. */
    stop(): void;
};

/** Shows a progress bar, after `label`, on standard error if that is a terminal with a cursor; otherwise nothing. */
export function createProgressBar(label: string, stream: ProgressStream = process.stderr): ProgressBar {
    if (!canDraw(stream)) return { update() {}, stop() {} };
    const bar = new SingleBar(
        {
            format: `${label} {bar} {percentage}% | {duration_formatted} | {eta_formatted} left`,
            stream,
            clearOnComplete: true,
            hideCursor: true
        },
        Presets.shades_classic
    );
    return handle(bar);
}

/** A progress display for work of unknown length. It counts in `unit`. */
export function createProgressCounter(
    label: string,
    unit: string,
    stream: ProgressStream = process.stderr
): ProgressBar {
    if (!canDraw(stream)) return { update() {}, stop() {} };
    const format = `${label} | {value} ${unit} | {duration_formatted}`;
    return handle(new SingleBar({ format, stream, clearOnComplete: true, hideCursor: true }, Presets.shades_classic));
}

function canDraw({ isTTY }: ProgressStream): boolean {
    return isTTY === true && process.env.TERM !== "dumb";
}

function handle(bar: SingleBar): ProgressBar {
    let started = false;
    return {
        update(done, total) {
            if (!started) bar.start(total, done);
            else {
                bar.setTotal(total);
                bar.update(done);
            }
            started = true;
        },
        stop() {
            if (started) bar.stop();
            started = false;
        }
    };
}
