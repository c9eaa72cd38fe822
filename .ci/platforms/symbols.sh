#!/usr/bin/env bash
# Checks that node-llama-cpp's prebuilt libraries for macOS and Windows export every function of ggml that this machine's
# libllama with the engine calls: `.ci/platforms/symbols.sh [WORK_FOLDER]`. It needs a finished build and LLVM's tools
# (apt-get install llvm). The npm registry serves node-llama-cpp's packages for both systems up to 3.21.1, whose
# llama.cpp is older than the pinned one, so functions that only the newer one has are listed as such.
set -euo pipefail

repository=$(cd "$(dirname "$0")/../.." && pwd -P)
source "$repository/.ci/platforms/unpack.sh"
work=$(mkdir -p "${1:-$repository/build/symbols}" && cd "${1:-$repository/build/symbols}" && pwd -P)
log=$repository/bench/results/platforms/symbols.txt
version=${ARMT_SYMBOLS_OF:-3.21.1}
library=$(ls "$repository"/native/build/lib/libllama.v[0-9]*.so)

llvm-nm -D --undefined-only "$library" | awk '{print $2}' | grep -E '^(ggml|gguf)_' | sort -u >"$work/needed"
# C++ names would differ between compilers
if llvm-nm -D --undefined-only "$library" | awk '{print $2}' | grep '^_Z' | llvm-cxxfilt | grep -E '\b(ggml|gguf)_'; then
    echo "libllama calls these C++ functions of ggml" >&2
    exit 1
fi

exports() { # <library>...
    local file
    for file; do
        case $file in
            *.dylib) llvm-nm --extern-only --defined-only "$file" | awk 'NF == 3 { sub(/^_/, "", $3); print $3 }' ;;
            *.dll) llvm-readobj --coff-exports "$file" | sed -n 's/^ *Name: //p' ;;
        esac
    done
}

check() {
    echo "$(basename "$library") calls $(wc -l <"$work/needed") functions of ggml, all by their C names"
    local package folder release
    for package in mac-arm64-metal mac-x64 win-x64; do
        unpack "@node-llama-cpp/$package@$version" "$work/$package"
        folder=$work/$package/bins/$package
        exports "$folder"/*ggml-base.* "$folder"/*ggml.*v* | sort -u >"$work/exported"
        release=$(ls "$folder" | sed -n 's/.*ggml\.\(.*\.\)\{0,1\}\(v[0-9.]*[0-9]\)\..*/\2/p' | head -n 1)
        echo "@node-llama-cpp/$package $version (llama.cpp $release): not exported: $(comm -23 "$work/needed" "$work/exported" | paste -sd' ')"
    done
}

check | tee "$log"
