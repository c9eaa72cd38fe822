#!/usr/bin/env bash
# Runs the golden cases on Mesa's Vulkan software renderer: `.ci/platforms/linux-x64-vulkan.sh [WORK_FOLDER]`. It needs
# Debian's mesa-vulkan-drivers and a C compiler, the package @node-llama-cpp/linux-x64-vulkan, and the compiled TypeScript
# (`npx tsc --build`). Output: bench/results/platforms/linux-x64-vulkan.txt
set -euo pipefail

repository=$(cd "$(dirname "$0")/../.." && pwd -P)
work=$(mkdir -p "${1:-$repository/build/linux-x64-vulkan}" && cd "${1:-$repository/build/linux-x64-vulkan}" && pwd -P)
log=$repository/bench/results/platforms/linux-x64-vulkan.txt
export ARMT_TEST_GPU=vulkan GGML_VK_VISIBLE_DEVICES=0 # ggml skips software renderers otherwise
ulimit -c 0

cd "$repository"
node native/build.mjs --gpu vulkan
cc -shared -fPIC -O1 -o "$work/keep-buffers.so" .ci/platforms/linux-x64-vulkan/keep-buffers.c -ldl

tests() { # <pattern>
    node node_modules/ava/entrypoints/cli.mjs --timeout=20m dist/test/engine/golden-gpu.test.js --match="$1" 2>&1 || true
}

check() {
    echo "Golden cases on $(dpkg-query -W -f '${Package} ${Version}' mesa-vulkan-drivers), node-llama-cpp's prebuilt Vulkan backend"
    printf '\nBuffers are freed when the device is idle (one case)\n'
    ARMT_WAIT=1 LD_PRELOAD=$work/keep-buffers.so tests '*llama-mha-tied-nocorr, f32'
    printf '\nBuffers are never freed\n'
    export LD_PRELOAD=$work/keep-buffers.so
    tests '*, f32'
    tests '*generates the tokens*'
    tests '*memory of *16*'
}

check | sed -e "s#$repository/##g" | tee "$log"
