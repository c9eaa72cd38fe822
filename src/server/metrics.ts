import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import type { Engine } from "./engine/Engine.js";
import type { MemoryRegistry } from "./engine/MemoryRegistry.js";

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

    constructor(engine: Engine, registry: MemoryRegistry) {
        collectDefaultMetrics({ register: this.registry });
        this.gauge("armt_sequences", "Sequences that are decoded at once", () => engine.pool.size);
        this.gauge("armt_sequences_busy", "Sequences in use", () => engine.pool.busy);
        this.gauge("armt_requests_waiting", "Requests that wait for a sequence", () => engine.pool.waiting);
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
