import { mkdtemp, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import type { BuildError, Layout, Variant } from "../../../native/build.mjs";
import { cudaState, type Machine } from "../../../plugin/native/cuda-state.js";
import { importBuildModule, loadEngine } from "../../../plugin/native/library.js";
import { availableCores } from "../../../plugin/native/threads.js";
import { devicesOf } from "../../../plugin/native/trial.js";
import { type GpuName, gpuProblem, gpuTitles, ordinaryVariant } from "../../../plugin/native/variants.js";
import { userCacheFolder } from "../../util/cache-folder.js";
import { systemErrorText } from "../../util/errors.js";
import { makeFolder } from "../../util/make-folder.js";
import { tryModel, tryModelApart } from "./try-model.js";

/** One line of `armt doctor`. */
export interface Check {
    name: string;
    /** `warning`: it works, but not as well as it should. */
    state: "ok" | "warning" | "broken";
    detail: string;
    /** What to run in a shell to solve it, if one command does. */
    command?: string;
}

/** Oldest Node version that the package is tested with. */
const minNode = [20, 19] as const;

/**
 * Checks everything from the machine to a running engine, and continues after a problem.
 * @param machine if it names another folder of the package, the engine in that folder is not loaded
 */
export async function checkInstallation(machine: Machine = {}): Promise<Check[]> {
    const { packageRoot, resolveLayout, findLibraries, findTools, installedVariant, isUpToDate } =
        await importBuildModule();
    const { root = packageRoot, env = process.env, host } = machine;
    const checks: Check[] = [
        checkNode(),
        { name: "platform", state: "ok", detail: `${os.type()} ${os.release()} ${process.arch}` }
    ];
    checks.push({ name: "cores", state: "ok", detail: `${availableCores()} usable of ${os.cpus().length}` });

    let layout: Layout | undefined;
    const variant = installedVariant(root, host);
    const packages = check("packages", () => {
        layout = resolveLayout(root, host, variant);
        const only =
            variant === ordinaryVariant(host) || variant === false
                ? ""
                : `; the ${gpuTitles[variant]} variant alone, so models run with \`--gpu ${variant}\` only`;
        return `node-llama-cpp ${layout.nodeLlamaCppVersion}, llama.cpp ${layout.release}${only}`;
    });
    if (layout === undefined) {
        // without a local build, a prebuilt package is enough
        const prebuilt = check("packages", () => `prebuilt package, ${path.dirname(findLibraries(root, host).llama)}`);
        if (prebuilt.state !== "ok") return [...checks, packages];
        checks.push(prebuilt);
        if (root !== packageRoot) return checks;
        return [...checks, ...(await checkEngine(variant)), ...(await checkGpus(variant, machine)), await checkCache()];
    }
    checks.push(packages);

    let origin: "build" | "package" | undefined;
    const found = check("build", () => {
        origin = findLibraries(root, host, variant).origin;
        return "prebuilt package";
    });
    const tools = check("build tools", () => {
        const { compiler, cmake, ninja, ccache } = findTools(env);
        return [compiler.version, cmake.version, ninja && "Ninja", ccache && "ccache"].filter(Boolean).join(", ");
    });
    // the engine is already built, so missing build tools are not an error
    if (origin !== undefined && tools.state === "broken") tools.state = "warning";
    checks.push(tools);
    if (origin === "build") {
        const fresh = isUpToDate(layout, env);
        checks.push({
            name: "build",
            state: fresh ? "ok" : "warning",
            detail: fresh ? "up to date" : "older than its sources; run `npx armt build`",
            ...(!fresh && { command: "npx armt build" })
        });
    } else checks.push(found);
    if (origin !== undefined && root === packageRoot) checks.push(...(await checkEngine(variant)));
    checks.push(...(await checkGpus(variant, machine)));
    if (root === packageRoot) checks.push(await checkCache());
    return checks;
}

function checkNode(): Check {
    const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
    const old = major < minNode[0] || (major === minNode[0] && minor < minNode[1]);
    const detail = old ? `${process.version}; ${minNode.join(".")} or newer is needed` : process.version;
    return { name: "Node.js", state: old ? "broken" : "ok", detail };
}

/** One line for each kind of GPU that this machine may have. */
async function checkGpus(variant: Variant, machine: Machine): Promise<Check[]> {
    const checks: Check[] = [];
    if (variant !== "metal") checks.push(await checkCuda(variant, machine));
    // the devices are those of this machine, whatever folder of the package was named
    if (machine.root !== undefined) return checks;
    const { defaultVariant } = await importBuildModule();
    for (const gpu of defaultVariant() === "metal" ? (["metal"] as const) : (["vulkan"] as const)) {
        const devices = await devicesOf(gpu);
        const problem = await gpuProblem(gpu, machine);
        if (devices === undefined && variant !== gpu) continue;
        const name = gpuTitles[gpu];
        if (devices === undefined) {
            checks.push({ name, state: "broken", detail: problem ?? "does not start" });
            continue;
        }
        const unused = problem ?? (await failureOn(gpu, variant));
        checks.push({
            name,
            // a GPU that nobody asked for may stay unused
            state: unused === undefined || problem !== undefined ? "ok" : "broken",
            detail: [devices.join(", "), unused].filter(Boolean).join("; unused: ")
        });
    }
    return checks;
}

/** What goes wrong when the included model runs on a GPU. The check of the engine covers the default variant. */
async function failureOn(gpu: GpuName, variant: Variant): Promise<string | undefined> {
    if (gpu === variant && variant === ordinaryVariant()) return undefined;
    const problem = await tryModelApart(gpu);
    return problem && `the included model ${problem}`;
}

/** The backend on which `--gpu cuda` and `getLlama({gpu: "cuda"})` would run ARMT models, and the reason. */
async function checkCuda(variant: Variant, machine: Machine): Promise<Check> {
    const name = "GPU";
    const { card, layout, problem, tuned } = await cudaState(machine);
    if (card === null)
        return variant === "cuda"
            ? {
                  name,
                  state: "broken",
                  detail:
                      "no NVIDIA GPU with a driver, and the CPU variant of node-llama-cpp is not installed; run " +
                      `\`npm install --include=optional node-llama-cpp@${layout?.nodeLlamaCppVersion}\``
              }
            : { name, state: "ok", detail: "no NVIDIA GPU with a driver; models run on the CPU" };
    const described = `${card.name}, compute capability ${card.capability}, driver ${card.driver}`;
    const unused = (reason: string): Check => {
        return { name, state: variant === "cuda" ? "broken" : "warning", detail: `${described}; unused: ${reason}` };
    };
    if (problem !== undefined) return unused(problem);
    // what the commands will do; a card of another folder's tests is none to start
    if (machine.root === undefined && !tuned && (await devicesOf("cuda")) === undefined)
        return unused(
            "node-llama-cpp cannot load its prebuilt CUDA libraries; `npx node-llama-cpp inspect gpu` says more, " +
                "and `armt build --gpu cuda --tuned` builds others"
        );
    const failure = machine.root === undefined ? await failureOn("cuda", variant) : undefined;
    if (failure !== undefined) return unused(failure);
    const backend = tuned
        ? `tuned backend, ${layout?.backend}; its fused kernels are ${fusedKernels(card)}`
        : "prebuilt backend of node-llama-cpp, without fused kernels (`armt build --gpu cuda --tuned` has them)";
    return { name, state: "ok", detail: `${described}; ${backend}${peerCopies(card, machine.env ?? process.env)}` };
}

/** How rows get from one GPU to the next where a model's layers are divided between several. */
function peerCopies({ count }: { count: number }, env: NodeJS.ProcessEnv): string {
    if (count < 2) return "";
    return `; ${count} GPUs, ${
        env.GGML_CUDA_P2P === undefined
            ? "which exchange rows through this machine's memory: with GGML_CUDA_P2P=1 they do so directly"
            : "which exchange rows directly where the driver lets them, since GGML_CUDA_P2P is set"
    }`;
}

/** Whether the fused kernels of native/cuda are on for a card. */
function fusedKernels({ capability }: { capability: string }): string {
    if (Number(capability) < 8) return "off, since they need compute capability 8.0";
    return process.env.ARMT_CUDA_FUSION ? "as ARMT_CUDA_FUSION says" : "on";
}

async function checkEngine(variant: Variant): Promise<Check[]> {
    try {
        const { addon } = await loadEngine(variant);
        // another variant starts only with its GPU, and a separate check covers that
        const starts = variant === ordinaryVariant();
        const trial = starts ? await checkModel(variant) : undefined;
        const engine: Check = {
            name: "engine",
            state: "ok",
            detail: `interface version ${addon.apiVersion}, loaded from ${addon.verify()}`
        };
        const backend = starts ? loadedCpuBackend() : undefined;
        return [
            engine,
            ...(backend === undefined ? [] : [{ name: "CPU backend", state: "ok" as const, detail: backend }]),
            ...(trial === undefined ? [] : [trial])
        ];
    } catch (error) {
        return [{ name: "engine", state: "broken", detail: error instanceof Error ? error.message : String(error) }];
    }
}

async function checkModel(variant: Variant): Promise<Check> {
    const problem = await tryModel(variant);
    return { name: "included model", state: problem ? "broken" : "ok", detail: problem ?? "reads and answers" };
}

/** Pulled models and the prefixes of `armt run` and `armt serve` are kept in the user's cache. */
async function checkCache(): Promise<Check> {
    const folder = userCacheFolder();
    try {
        await makeFolder(folder);
        await rm(await mkdtemp(path.join(folder, "doctor-")), { recursive: true });
        return { name: "cache", state: "ok", detail: folder };
    } catch (error) {
        const detail = `cannot write to ${folder}: ${systemErrorText(error)}; set XDG_CACHE_HOME to another folder`;
        return { name: "cache", state: "warning", detail };
    }
}

/** ggml picks the library that fits the processor. Only Node's list of loaded libraries shows which one. */
function loadedCpuBackend(): string | undefined {
    // without this the report looks up the name of every network peer
    Object.assign(process.report, { excludeNetwork: true });
    const report = process.report.getReport() as unknown as { sharedObjects: string[] };
    return report.sharedObjects.map((file) => file.split(/[\\/]/).at(-1)!).find((file) => /^(lib)?ggml-cpu/.test(file));
}

function check(name: string, work: () => string): Check {
    try {
        return { name, state: "ok", detail: work() };
    } catch (error) {
        const { message, command } = error as Partial<BuildError>;
        return { name, state: "broken", detail: message ?? String(error), ...(command !== undefined && { command }) };
    }
}
