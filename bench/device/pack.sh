#!/usr/bin/env bash
# Packs this package with Node.js and what `armt build --gpu cuda --tuned` needs, for a GPU machine without a network
# that takes only so much at once. After `npm install` and `node native/build.mjs --gpu cuda` here:
#   bench/device/pack.sh build/device-app 58 [MODEL.gguf …]
# Arguments: a folder for the parts, MiB of a part, files that come along. start.sh and eval.sh say what to do there.
set -euo pipefail
[ $# -ge 2 ] || { echo "usage: bench/device/pack.sh FOLDER MIB [FILE …]" >&2; exit 2; }
out=$1 size=$2
shift 2
root=$(cd "$(dirname "$0")/../.." && pwd)
cuda=node_modules/@node-llama-cpp/linux-x64-cuda/bins/linux-x64-cuda
compgen -G "$root/native/build/lib-cuda/libllama.cuda.*.so" >/dev/null ||
    { echo "pack: run node native/build.mjs --gpu cuda first" >&2; exit 2; }
rm -rf "$out"
mkdir -p "$out/armt-app/native/build/llama.cpp" "$out/armt-app/files"
app=$(cd "$out/armt-app" && pwd)
cd "$root"

# the packages that programs and ava need; of the GPU variants, nothing that is not used there
node - <<'SCRIPT' | while read -r folder; do mkdir -p "$app/$(dirname "$folder")" && cp -a "$folder" "$app/$folder"; done
const { existsSync, readFileSync } = require("node:fs");
const path = require("node:path");
const read = (folder) => JSON.parse(readFileSync(path.join(folder, "package.json"), "utf8"));
const find = (name, from) => {
    for (let folder = from; ; folder = path.dirname(folder)) {
        const found = path.join(folder, "node_modules", name);
        if (existsSync(found)) return found;
        if (folder === path.dirname(folder)) return undefined;
    }
};
const seen = new Set();
const visit = (folder) => {
    if (seen.has(folder)) return;
    seen.add(folder);
    for (const name of Object.keys(read(folder).dependencies ?? {})) {
        const found = find(name, folder);
        if (found !== undefined) visit(found);
    }
};
const names = [...Object.keys(read(".").dependencies), "ava", "@node-llama-cpp/linux-x64", "@node-llama-cpp/linux-x64-cuda"];
for (const name of names) visit(path.join(process.cwd(), "node_modules", name));
// a folder within another one comes with it
const folders = [...seen].filter((folder) => ![...seen].some((other) => folder.startsWith(`${other}/node_modules/`)));
for (const folder of folders) console.log(path.relative(process.cwd(), folder));
SCRIPT
rm "$app/$cuda/libggml-cuda.so"
: >"$app/node_modules/node-llama-cpp/llama/gitRelease.bundle"
cp -a package.json dist assets patches "$app/"
find "$app/dist" -name '*.map' -delete
cp -a native/{cuda,cuda-check,engine,install,gyp,build.mjs,CMakeLists.txt} native/*.cmake "$app/native/"
cp -a native/build/{armt.node,lib,lib-cuda} native/build/stamp*.json "$app/native/build/"
cp -a native/build/llama.cpp/{ggml,include} "$app/native/build/llama.cpp/"
find "$app/native/build/llama.cpp/ggml/src" -mindepth 1 -maxdepth 1 -type d ! -name ggml-cuda ! -name ggml-cpu -exec rm -rf {} +
mkdir -p "$app/test"
cp -a test/golden "$app/test/"
cp "$(command -v node)" "$app/node"
cp bench/device/{start,eval}.sh bench/device/smollm2-135m.txt "$app/"
for file in "$@"; do cp "$file" "$app/files/"; done
tar -C "$out" -c armt-app | xz -T0 -6 >"$out/app.tar.xz"
rm -rf "$app"
split -b "${size}M" -d -a 2 "$out/app.tar.xz" "$out/part-"
(cd "$out" && sha256sum app.tar.xz >sum && rm app.tar.xz && ls -l)
