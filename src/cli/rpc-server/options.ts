import type { GpuChoice } from "../../model/gpu.js";

export interface RpcServerOptions {
    gpu?: GpuChoice;
    host: string;
    port: number;
    threads?: number;
    cache?: string;
}
