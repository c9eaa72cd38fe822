import process from "node:process";
import { Presets, SingleBar } from "cli-progress";
import type { ArmtProgress } from "../../plugin/index.js";

/** A progress bar for the reading of a prompt: on standard error, and on terminals only. */
export class PrefillBar {
    private bar: SingleBar | undefined;

    /** @param shown false: nothing is ever drawn */
    constructor(private readonly shown = process.stderr.isTTY === true) {}

    update({ tokensDone, tokensTotal, segments }: ArmtProgress): void {
        if (!this.shown) return;
        if (this.bar === undefined) {
            const format =
                "reading {bar} {percentage}% | {value}/{total} tokens | {segments} segments | {eta_formatted} left";
            const options = { format, stream: process.stderr, clearOnComplete: true, hideCursor: true, etaBuffer: 50 };
            this.bar = new SingleBar(options, Presets.shades_classic);
            this.bar.start(tokensTotal, 0, { segments: 0 });
        }
        this.bar.update(tokensDone, { segments });
    }

    end(): void {
        this.bar?.stop();
        this.bar = undefined;
    }
}
