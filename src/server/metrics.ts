import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import type { MemoryRegistry } from "./engine/MemoryRegistry.js";
import type { SequencePool } from "./engine/SequencePool.js";
import type { ModelPool } from "./models/ModelPool.js";
import type { ServedModel } from "./models/ServedModel.js";

/** What an answer cost. */
export interface Usage {
    readonly promptTokens: number;
    readonly cachedTokens: number;
    readonly completionTokens: number;
}

/** Counters of one server, in Prometheus' form. Nothing of any prompt is in them. */
export class Metrics {
    readonly registry = new Registry();
    private readonly requests = new Counter({
        name: "armt_http_requests_total",
        help: "Requests answered, by route and HTTP status",
        labelNames: ["route", "status"],
        registers: [this.registry]
    });
    private readonly promptTokens = this.counter("armt_prompt_tokens_total", "Tokens of prompts");
    private readonly cachedTokens = this.counter(
        "armt_prompt_cached_tokens_total",
        "Tokens of prompts that were not read again"
    );
    private readonly completionTokens = this.counter("armt_completion_tokens_total", "Tokens written");
    readonly cancelled = this.counter("armt_requests_cancelled_total", "Requests whose client went away");
    readonly firstToken = new Histogram({
        name: "armt_time_to_first_token_seconds",
        help: "Time from a request to the first token of its answer, the wait included",
        buckets: [0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000],
        registers: [this.registry]
    });
    readonly duration = new Histogram({
        name: "armt_request_duration_seconds",
        help: "Time from a request to the end of its answer",
        buckets: [0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3000],
        registers: [this.registry]
    });

    readonly loads = this.modelCounter("armt_model_loads_total", "Times that a model was loaded for a request");
    readonly unloads = this.modelCounter("armt_model_unloads_total", "Times that a model was unloaded for another");

    constructor(models: ModelPool<ServedModel>, registry: MemoryRegistry) {
        collectDefaultMetrics({ register: this.registry });
        const sum = (read: (pool: SequencePool) => number) =>
            models.ids.reduce((all, id) => all + (models.peek(id) ? read(models.peek(id)!.engine.pool) : 0), 0);
        this.gauge("armt_sequences", "Sequences that are decoded at once", () => sum(({ size }) => size));
        this.gauge("armt_sequences_busy", "Sequences in use", () => sum(({ busy }) => busy));
        this.gauge("armt_requests_waiting", "Requests that wait for a sequence", () => sum(({ waiting }) => waiting));
        this.gauge("armt_requests_waiting_for_model", "Requests that wait for a model", () => models.waiting);
        new Gauge({
            name: "armt_model_loaded",
            help: "Whether a model is loaded: 0 or 1",
            labelNames: ["model"],
            registers: [this.registry],
            collect() {
                for (const model of models.ids) this.set({ model }, models.stateOf(model) === "loaded" ? 1 : 0);
            }
        });
        this.gauge("armt_memories", "Memories held", () => registry.count);
        this.gauge("armt_memories_bytes", "Size of the memories held", () => registry.bytes);
    }

    countRequest(route: string, status: number): void {
        this.requests.inc({ route, status });
    }

    countUsage({ promptTokens, cachedTokens, completionTokens }: Usage): void {
        this.promptTokens.inc(promptTokens);
        this.cachedTokens.inc(cachedTokens);
        this.completionTokens.inc(completionTokens);
    }

    private counter(name: string, help: string): Counter {
        return new Counter({ name, help, registers: [this.registry] });
    }

    private modelCounter(name: string, help: string): Counter<"model"> {
        return new Counter({ name, help, labelNames: ["model"], registers: [this.registry] });
    }

    private gauge(name: string, help: string, read: () => number): void {
        new Gauge({
            name,
            help,
            registers: [this.registry],
            collect() {
                this.set(read());
            }
        });
    }
}
