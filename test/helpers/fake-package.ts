import { execFileSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import type { ExecutionContext } from "ava";
import { completeTools, makeTools } from "./fake-tools.js";
import { temporaryFolder } from "./temporary.js";

/** A stand-in for CMake: it "compiles" by copying the patched source, and fails if the source says so. */
const fakeCmake = `#!/bin/sh
case "$1" in
  --version) echo "cmake version 3.25.1" ;;
  -S) for arg in "$@"; do case "$arg" in
        -DARMT_LLAMA_DIR=*) tree="\${arg#*=}" ;;
        -DARMT_OUTPUT_DIR=*) out="\${arg#*=}" ;;
        -DARMT_LLAMA_VERSION=*) result="libllama.\${arg#*=}.so" ;;
        -DCMAKE_CUDA_ARCHITECTURES=90a-real) result="libggml-cuda.so" ;;
      esac; done
      mkdir -p "$4" && printf 'tree="%s"\\nout="%s"\\nresult="%s"\\n' "$tree" "$out" "$result" > "$4/config" ;;
  --build) . "$2/config"
      mkdir -p "$out" && echo "compiled" >> "$out/../runs"
      echo "[1/2] first"
      if grep -q broken "$tree/source.txt"; then echo "source.txt:1: error: this is broken"; exit 3; fi
      cp "$tree/source.txt" "$out/$result"
      echo "[2/2] second" ;;
esac
`;

const fakeNodeGyp = `
import { mkdirSync, writeFileSync } from "node:fs";
mkdirSync("build/Release", { recursive: true });
writeFileSync("build/Release/armt.node", "addon");
`;

/** A package whose build takes milliseconds: a small repository for llama.cpp, and stand-ins for CMake and node-gyp. */
export class FakePackage {
    readonly root: string;
    readonly env: NodeJS.ProcessEnv;

    constructor(t: ExecutionContext) {
        this.root = path.join(temporaryFolder(t), "package");
        const bin = makeTools(path.join(this.root, "..", "bin"), completeTools);
        // real git, since the tests check unpacking and patching
        this.env = { PATH: `${bin}:${process.env.PATH}`, HOME: this.root };
        writeFileSync(path.join(bin, "git"), `#!/bin/sh\nexec "${realGit()}" "$@"\n`);
        writeFileSync(path.join(bin, "cmake"), fakeCmake);
        for (const tool of ["git", "cmake"]) chmodSync(path.join(bin, tool), 0o755);

        const platform = `linux-${process.arch}`;
        const prebuilt = `node_modules/@node-llama-cpp/${platform}`;
        const llama = "node_modules/node-llama-cpp/llama";
        this.write("package.json", JSON.stringify({ dependencies: { "node-llama-cpp": "3.22.1" } }));
        this.write("node_modules/node-llama-cpp/package.json", JSON.stringify({ version: "3.22.1" }));
        this.write(`${llama}/binariesGithubRelease.json`, JSON.stringify({ release: "v0.5.0" }));
        this.write(`${prebuilt}/package.json`, "{}");
        for (const name of ["libggml-base.so", "libggml.v0.5.0.so"])
            this.write(`${prebuilt}/bins/${platform}/${name}`, "");
        this.write("node_modules/node-gyp/package.json", '{"type": "module"}');
        this.write("node_modules/node-gyp/bin/node-gyp.js", fakeNodeGyp);
        this.write("native/CMakeLists.txt", "");
        this.write("native/gyp/binding.gyp", "{}");
        this.write("native/engine/armt-api.h", "");
        this.write("native/addon/addon.cpp", "");
        this.makeBundle(path.join(this.root, llama, "gitRelease.bundle"));
    }

    write(file: string, content: string): void {
        mkdirSync(path.dirname(path.join(this.root, file)), { recursive: true });
        writeFileSync(path.join(this.root, file), content);
    }

    read(file: string): string {
        return readFileSync(path.join(this.root, file), "utf8");
    }

    /** Installs node-llama-cpp's CUDA variant and an nvcc. */
    installCuda(): void {
        const prebuilt = `node_modules/@node-llama-cpp/linux-${process.arch}-cuda`;
        this.write(`${prebuilt}/package.json`, "{}");
        for (const name of ["libggml-base.so", "libggml.cuda.v0.5.0.so", "libggml-cpu-x64.so", "libggml-cuda.so"])
            this.write(`${prebuilt}/bins/linux-${process.arch}-cuda/${name}`, "");
        const nvcc = path.join(this.root, "nvcc");
        writeFileSync(nvcc, '#!/bin/sh\necho "Cuda compilation tools, release 13.0, V13.0.88"\n');
        chmodSync(nvcc, 0o755);
        this.env.CUDACXX = nvcc;
    }

    /** Removes the CPU variant, so that only the CUDA variant remains. */
    removeCpu(): void {
        rmSync(path.join(this.root, `node_modules/@node-llama-cpp/linux-${process.arch}`), { recursive: true });
    }

    /** Contents of the built library, which is a copy of the patched source. */
    get library(): string {
        return this.read("native/build/lib/libllama.v0.5.0.so");
    }

    /** Number of times that the library was compiled. */
    get compilations(): number {
        const file = "native/build/runs";
        return existsSync(path.join(this.root, file)) ? this.read(file).trim().split("\n").length : 0;
    }

    /** Adds or replaces a patch that turns one line of the source into another. */
    patch(name: string, from: string, to: string): void {
        const head = "--- a/source.txt\n+++ b/source.txt\n@@ -1 +1 @@\n";
        this.write(`patches/${name}`, `${head}-${from}\n+${to}\n`);
    }

    private makeBundle(file: string): void {
        const repository = path.join(this.root, "..", "upstream");
        mkdirSync(repository);
        writeFileSync(path.join(repository, "source.txt"), "plain\n");
        const identity = ["-c", "user.name=test", "-c", "user.email=test@localhost"];
        const git = (...args: string[]) =>
            execFileSync(realGit(), ["-C", repository, ...identity, ...args], { env: this.env, stdio: "pipe" });
        git("init", "-q", "-b", "main");
        git("add", ".");
        git("commit", "-q", "-m", "source");
        git("bundle", "create", "-q", file, "HEAD", "main");
    }
}

function realGit(): string {
    return execFileSync("/bin/sh", ["-c", "command -v git"], { encoding: "utf8" }).trim();
}
