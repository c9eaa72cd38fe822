#!/usr/bin/env bash
# On the GPU machine, in the folder with the parts of pack.sh:
#   cat part-* >app.tar.xz && sha256sum -c sum && tar -xJf app.tar.xz && armt-app/start.sh
# It builds the tuned CUDA backend for this card, 166 s on 22 of 32 cores, unless pack.sh found one for it. Then, for example:
#   armt-app/node armt-app/dist/src/cli/main.js eval natural -m armt-app/files/model.gguf --gpu cuda --lengths 128k
set -euo pipefail
app=$(cd "$(dirname "$0")" && pwd)
libraries=$app/node_modules/@node-llama-cpp/linux-x64-cuda/bins/linux-x64-cuda
build=$app/native/build
capability=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -n 1 | tr -d .)
[ "$capability" = 90 ] && capability=90a
if ! grep -aqs "sm_$capability" "$build/lib-cuda/libggml-cuda.so"; then
    cmake -S "$app/native/cuda" -B "$build/cmake-ggml-cuda" -G Ninja -DCMAKE_BUILD_TYPE=Release \
        -DCMAKE_CUDA_COMPILER="$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)" \
        -DCMAKE_CUDA_ARCHITECTURES="$capability-real" -DARMT_LLAMA_DIR="$build/llama.cpp" \
        -DARMT_PREBUILT_DIR="$libraries" -DARMT_OUTPUT_DIR="$build/lib-cuda" >"$app/build.log"
    cmake --build "$build/cmake-ggml-cuda" -j "${JOBS:-$(nproc)}" >>"$app/build.log"
fi
ln -sf "$libraries"/libggml-cpu*.so "$build/lib-cuda/"
# node-llama-cpp takes its CUDA variant only if its own backend is there
cp "$build/lib-cuda/libggml-cuda.so" "$libraries/"
