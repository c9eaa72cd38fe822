const columns = 48;

/** The grid of cells: a row a layer, a column a segment; the last columns of what has run. */
export class CellPicture {
    layers = 1;
    schedule = "sequential";
    cells = 0;

    constructor(canvas) {
        this.canvas = canvas;
    }

    begin(layers, schedule) {
        this.layers = layers;
        this.schedule = schedule;
        this.canvas.height = Math.min(480, Math.max(64, layers * 24));
        this.show(0);
    }

    show(cells) {
        const before = this.cells <= cells ? this.cells : 0;
        this.cells = cells;
        const newest = this.newestSegment(cells);
        const first = Math.max(0, newest - columns + 2);
        const context = this.canvas.getContext("2d");
        const { width, height } = this.canvas;
        const [w, h] = [width / columns, height / this.layers];
        context.clearRect(0, 0, width, height);
        for (let layer = 0; layer < this.layers; layer++)
            for (let column = 0; column < columns; column++) {
                const number = this.numberOf(layer, first + column);
                context.fillStyle =
                    number >= cells ? "rgb(128 128 128 / 0.16)" : number >= before ? "#f5a623" : "#2f7bd6";
                // layer 0 is at the bottom
                context.fillRect(column * w + 1, height - (layer + 1) * h + 1, w - 2, h - 2);
            }
        this.canvas.setAttribute(
            "aria-label",
            cells === 0
                ? "No cell has run yet"
                : `${cells} cells of ${this.layers} layers have run, up to segment ${newest + 1}, in ${this.schedule} order`
        );
    }

    /** How many cells run before this one. */
    numberOf(layer, segment) {
        if (this.schedule !== "diagonal") return segment * this.layers + layer;
        const diagonal = layer + segment;
        const { layers } = this;
        // the first diagonals have 1, 2, 3 … cells, all others one in each layer
        const before =
            diagonal <= layers
                ? (diagonal * (diagonal + 1)) / 2
                : (layers * (layers + 1)) / 2 + (diagonal - layers) * layers;
        return before + layer;
    }

    newestSegment(cells) {
        if (cells === 0) return 0;
        let segment = Math.floor(cells / this.layers);
        while (this.numberOf(0, segment + 1) < cells) segment++;
        return segment;
    }
}
