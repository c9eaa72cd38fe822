#!/usr/bin/env bash
# Runs the golden cases on Mesa's Vulkan software renderer: `.ci/platforms/linux-x64-vulkan.sh [WORK_FOLDER]`. It needs
# Debian's mesa-vulkan-drivers and a C++ compiler, the package @node-llama-cpp/linux-x64-vulkan, a finished build and
# the compiled TypeScript (`npx tsc --build`). Output: bench/results/platforms/linux-x64-vulkan.txt
set -euo pipefail

repository=$(cd "$(dirname "$0")/../.." && pwd -P)
work=$(mkdir -p "${1:-$repository/build/linux-x64-vulkan}" && cd "${1:-$repository/build/linux-x64-vulkan}" && pwd -P)
log=$repository/bench/results/platforms/linux-x64-vulkan.txt
here=$repository/.ci/platforms/linux-x64-vulkan
bins=$repository/node_modules/@node-llama-cpp/linux-x64-vulkan/bins/linux-x64-vulkan
export ARMT_TEST_GPU=vulkan GGML_VK_VISIBLE_DEVICES=0 # ggml skips software renderers otherwise
export GGML_NO_BACKTRACE=1
ulimit -c 0

cd "$repository"
node native/build.mjs --gpu vulkan
cc -shared -fPIC -O1 -o "$work/keep-buffers.so" "$here/keep-buffers.c" -ldl
c++ -std=c++17 -O1 -Wall -Wextra -Werror -I"$repository/native/build/llama.cpp/ggml/include" -o "$work/offsets" \
    "$here/offsets.cpp" "$bins/libggml-base.so" "$bins"/libggml.vulkan.*.so -Wl,-rpath,"$bins"

tests() { # <pattern>...
    node node_modules/ava/entrypoints/cli.mjs --timeout=20m dist/test/engine/golden-gpu.test.js \
        "${@/#/--match=}" 2>&1 || true
}

check() {
    echo "$(dpkg-query -W -f '${Package} ${Version}' mesa-vulkan-drivers), node-llama-cpp's prebuilt Vulkan backend"
    printf '\nOperations of ggml with a tensor that starts some bytes after a multiple of 64: difference from the CPU\n'
    "$work/offsets" "$bins/libggml-cpu-x64.so" "$bins/libggml-vulkan.so" 2>&1
    printf '\nGolden cases; buffers are freed when the device is idle (one case)\n'
    ARMT_WAIT=1 LD_PRELOAD=$work/keep-buffers.so tests '*llama-mha-tied-nocorr, f32'
    printf '\nBuffers are never freed\n'
    export LD_PRELOAD=$work/keep-buffers.so
    local type
    for type in f32 f16 bf16; do tests "*, $type" '!*NumPy*'; done
    tests '*NumPy*'
    tests '*share diagonals*'
    tests '*generates the tokens*'
    tests '*memory of *16*'
}

# the log is replaced when the check has ended
check | sed -u -e "s#$repository/##g" | tee "$work/log.txt"
cp "$work/log.txt" "$log"
