/** A variant of node-llama-cpp; `false` is the CPU variant. */
export type Variant = "cuda" | "vulkan" | "metal" | false;

/** Paths of the build; see `install/layout.mjs`. */
export interface Layout {
    readonly root: string;
    readonly log: string;
    readonly library: string;
    readonly addon: string;
    readonly prebuiltDir: string;
    readonly nodeLlamaCppVersion: string;
    readonly release: string;
    readonly suffix: string;
    readonly gpu: Variant;
    readonly libDir: string;
    readonly backend: string;
}

export interface Tool {
    readonly path: string;
    readonly version: string;
}

export interface Tools {
    readonly compiler: Tool;
    readonly cmake: Tool;
    readonly git: Tool;
    readonly python: Tool;
    readonly make: Tool | null;
    readonly ninja: string | null;
    readonly ccache: string | null;
}

export interface BuildOptions {
    root?: string;
    env?: NodeJS.ProcessEnv;
    force?: boolean;
    gpu?: Variant;
    tuned?: boolean;
    cudaArch?: string;
    onStep?: (line: string) => void;
    onProgress?: (percent: number) => void;
}

export interface Host {
    platform?: string;
    arch?: string;
    glibc?: string;
}

export interface Libraries {
    readonly addon: string;
    readonly ggmlBase: string;
    readonly ggml: string;
    readonly llama: string;
    readonly rpc: string;
    readonly gpu: Variant;
    readonly origin: "build" | "package";
}

export function findLibraries(root: string, host?: Host, gpu?: Variant): Libraries;

export class BuildError extends Error {
    /** What to run in a shell to solve it, if one command does. */
    readonly command?: string;
}
export const packageRoot: string;
export function build(options?: BuildOptions): Promise<{ built: boolean; library: string; addon: string }>;
export function isUpToDate(layout: Layout, env?: NodeJS.ProcessEnv): boolean;
export interface CudaGpu {
    readonly name: string;
    readonly driver: string;
    readonly capability: string;
    /** GPUs of this machine. */
    readonly count: number;
}

export function resolveLayout(root: string, host?: Host, gpu?: Variant): Layout;
/** The variant that is built where none is named. */
export function installedVariant(root: string, host?: Host): Variant;
/** The variant that runs on every machine of the platform. */
export function defaultVariant(host?: Host): Variant;
export function findCudaGpu(env: NodeJS.ProcessEnv): CudaGpu | null;
export function prebuiltRunsOn(gpu: CudaGpu): boolean;
export function findTools(env: NodeJS.ProcessEnv, system?: string): Tools;
export function findCompiler(env: NodeJS.ProcessEnv, system?: string): Tool | null;
