import { CellPicture } from "./cells.js";
import { element } from "./dom.js";
import { bytes, count } from "./format.js";

const picture = new CellPicture(element("cells"));
let shown;

/** Prepares the figures for a model. */
export function showModelFigures({ layers, schedule, memory_bytes }) {
    element("size").textContent = bytes(memory_bytes);
    picture.begin(layers, schedule);
}

/** Shows how far a prompt or document is; the one that began last is seen. */
export class Reading {
    first = undefined;

    constructor(what) {
        shown = this;
        element("reading").hidden = false;
        element("read-title").textContent = `Reading ${what}`;
        element("speed").textContent = "–";
        element("bar").value = 0;
    }

    show({ tokens, segments, cells, part }) {
        if (shown !== this) return;
        // cells of what is continued ran elsewhere
        this.first ??= { tokens, at: performance.now(), cells: Math.max(0, segments * picture.layers - cells) };
        const seconds = (performance.now() - this.first.at) / 1000;
        element("tokens").textContent = count(tokens);
        element("segments").textContent = count(segments);
        if (seconds > 0.2 && tokens > this.first.tokens)
            element("speed").textContent = count(Math.round((tokens - this.first.tokens) / seconds));
        element("bar").value = part;
        picture.show(this.first.cells + cells);
    }

    done(what) {
        if (shown !== this) return;
        element("read-title").textContent = what;
        element("bar").value = 1;
    }
}
