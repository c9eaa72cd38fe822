#!/usr/bin/env bash
# Compiles the engine and the addon for macOS, arm64 and x64, on Linux, without linking or running them:
# `.ci/platforms/macos.sh [WORK_FOLDER]`. Then it looks for each function of ggml and of Node-API that they call in
# node-llama-cpp's prebuilt libraries and in Node-API. It needs Python's venv, llvm and a finished build (llama.cpp's
# source). Output: bench/results/platforms/macos.txt
#
# The compiler is Zig's clang, which brings macOS's headers. The npm registry serves node-llama-cpp's packages for macOS
# up to 3.21.1, whose llama.cpp is older than the pinned one, so functions that only the newer one has are listed.
set -euo pipefail

repository=$(cd "$(dirname "$0")/../.." && pwd -P)
work=$(mkdir -p "${1:-$repository/build/macos}" && cd "${1:-$repository/build/macos}" && pwd -P)
log=$repository/bench/results/platforms/macos.txt
llama=$repository/native/build/llama.cpp
release=3.21.1

command -v llvm-nm >/dev/null || { echo "llvm-nm is missing; run apt-get install llvm" >&2; exit 1; }
[[ -d $llama ]] || { echo "llama.cpp's source is missing; run npm run build" >&2; exit 1; }
cd "$work"

unpack() { # <npm package> <folder>
    [[ -d $2 ]] && return
    local archive
    archive=$(npm pack --silent "$1")
    mkdir -p "$2"
    tar xzf "$archive" -C "$2" --strip-components=1
}
[[ -d zig ]] || { python3 -m venv zig && zig/bin/pip install -q ziglang==0.17.1; }
zig=(zig/bin/python -m ziglang)
unpack node-api-headers@1.9.0 node-api-headers
grep -hEo '\b(napi|node_api)_[a-z0-9_]+' node-api-headers/def/*.def | sort -u >node-api

flags=(-c -O0 -std=c++17 -fvisibility=hidden -Wall -Wextra -Werror -DGGML_SHARED -DLLAMA_SHARED)
engine=(-I"$repository/native/engine" -isystem "$llama/src" -isystem "$llama/include" -isystem "$llama/ggml/include")
addon=("${engine[@]}" -DNAPI_VERSION=9 -DNODE_ADDON_API_CPP_EXCEPTIONS
    -isystem node-api-headers/include -isystem "$repository/node_modules/node-addon-api")

compile() { # <target> <engine | addon> <flag>...
    local target=$1 part=$2 source
    shift 2
    mkdir -p "$target/$part"
    for source in "$repository/native/$part"/*.cpp; do
        "${zig[@]}" c++ -target "$target" "${flags[@]}" "$@" -o "$target/$part/$(basename "$source" .cpp).o" "$source"
    done
    echo "$part: $(ls "$target/$part"/*.o | wc -l) files compiled without a warning"
}

# functions that no object of the part defines
called() { # <target> <engine | addon> <pattern>
    llvm-nm --undefined-only "$1/$2"/*.o 2>/dev/null | sed -n 's/^ *\(U \)\{0,1\}_//p' | grep -E "$3" | sort -u
}

check() {
    echo "Zig $("${zig[@]}" version), $("${zig[@]}" c++ --version | head -n 1)"
    local entry arch target package
    for entry in arm64:aarch64-macos.13.0:mac-arm64-metal x64:x86_64-macos.13.0:mac-x64; do
        IFS=: read -r arch target package <<<"$entry"
        unpack "@node-llama-cpp/$package@$release" "$package"
        printf '\nmacOS %s\n' "$arch"
        compile "$target" engine "${engine[@]}"
        compile "$target" addon "${addon[@]}"
        llvm-nm --extern-only --defined-only "$package/bins/$package"/*ggml* 2>/dev/null |
            awk 'NF == 3 { sub(/^_/, "", $3); print $3 }' | sort -u >"exported-$arch"
        called "$target" engine '^(ggml|gguf)_' >"ggml-$arch"
        echo "the engine calls $(wc -l <"ggml-$arch") functions of ggml; not exported by @node-llama-cpp/$package $release: $(comm -23 "ggml-$arch" "exported-$arch" | paste -sd' ')"
        called "$target" addon '^(napi|node_api)_' >"node-$arch"
        echo "the addon calls $(wc -l <"node-$arch") functions of Node-API; not in Node-API: $(comm -23 "node-$arch" node-api | paste -sd' ')"
    done
}

check | sed -e "s#$work/##g; s#$repository/##g" | tee "$log"
