#!/usr/bin/env bash
# Compiles and links libllama with the engine, ggml's RPC backend and the addon for macOS, arm64 and x64, on Linux:
# `[ARCHITECTURES="arm64 x64"] [JOBS=2] .ci/platforms/macos.sh [WORK_FOLDER]`. Nothing runs. It looks for every function
# that they leave undefined in node-llama-cpp's prebuilt libraries, in macOS's own library and in Node-API, and for every
# function that node-llama-cpp's prebuilt addon expects of libllama in ours. It needs Python's venv, llvm, cmake,
# ninja-build and a finished build (llama.cpp's source). Output: bench/results/platforms/macos-ARCHITECTURE.txt
#
# Zig's clang compiles, and Zig links: it brings macOS's headers and the list of what libSystem exports. The npm registry
# serves node-llama-cpp's packages for macOS up to 3.21.1, whose llama.cpp is older than the pinned one. What only one of
# the two has is therefore listed.
set -euo pipefail

repository=$(cd "$(dirname "$0")/../.." && pwd -P)
source "$repository/.ci/platforms/unpack.sh"
work=$(mkdir -p "${1:-$repository/build/macos}" && cd "${1:-$repository/build/macos}" && pwd -P)
architectures=${ARCHITECTURES:-arm64 x64}
llama=$repository/native/build/llama.cpp
release=3.21.1
llama_release=v0.4.0
pinned=$(node -p "require('$repository/node_modules/node-llama-cpp/llama/llama.cpp.info.json').tag")

for tool in llvm-nm llvm-objdump cmake ninja; do
    command -v "$tool" >/dev/null || { echo "$tool is missing; run apt-get install llvm cmake ninja-build" >&2; exit 1; }
done
for arch in $architectures; do
    [[ $arch == arm64 || $arch == x64 ]] || { echo "ARCHITECTURES: $arch is neither arm64 nor x64" >&2; exit 1; }
done
[[ -d $llama ]] || { echo "llama.cpp's source is missing; run npm run build" >&2; exit 1; }
cd "$work"

zig/bin/python -c "import ziglang" 2>/dev/null ||
    { python3 -m venv zig && zig/bin/python -m pip install -q ziglang==0.17.1; }
zig=("$work/zig/bin/python" -m ziglang)
unpack node-api-headers@1.9.0 node-api-headers
grep -hEo '\b(napi|node_api)_[a-z0-9_]+' node-api-headers/def/*.def | sort -u >node-api

# Zig has no bundles, only libraries, which dlopen takes too
tools() { # <target>
    mkdir -p "$1/bin"
    local tool
    for tool in cc c++; do
        cat >"$1/bin/$tool" <<END
#!/usr/bin/env bash
exec ${zig[*]@Q} $tool -target $1 "\${@/#-bundle/-shared}"
END
    done
    for tool in ar ranlib; do
        printf '#!/usr/bin/env bash\nexec %s %s "$@"\n' "${zig[*]@Q}" "$tool" >"$1/bin/$tool"
    done
    # CMake asks macOS for its version, and sets no @rpath without it
    printf '#!/bin/sh\necho 13.0\n' >"$1/bin/sw_vers"
    chmod +x "$1/bin"/*
}

build_library() { # <target> <processor> <package> <suffix>
    local bins=$work/$3/bins/$3 suffix=$4
    # the build looks for the names of the pinned release, whose newest functions are not there to link to
    mkdir -p "$1/ggml"
    ln -sf "$bins/libggml-base.dylib" "$1/ggml/libggml-base.dylib"
    ln -sf "$bins/libggml.$suffix$llama_release.dylib" "$1/ggml/libggml.$suffix$pinned.dylib"
    PATH=$work/$1/bin:$PATH cmake -G Ninja -S "$repository/native" -B "$1/cmake" \
        -DCMAKE_SYSTEM_NAME=Darwin -DCMAKE_SYSTEM_PROCESSOR="$2" \
        -DCMAKE_C_COMPILER="$work/$1/bin/cc" -DCMAKE_CXX_COMPILER="$work/$1/bin/c++" \
        -DCMAKE_AR="$work/$1/bin/ar" -DCMAKE_RANLIB="$work/$1/bin/ranlib" -DCMAKE_OSX_SYSROOT= \
        -DCMAKE_INSTALL_NAME_TOOL=/bin/true \
        -DCMAKE_BUILD_TYPE=Release -DCMAKE_C_FLAGS_RELEASE="-O0 -DNDEBUG" -DCMAKE_CXX_FLAGS_RELEASE="-O0 -DNDEBUG" \
        -DCMAKE_SHARED_LINKER_FLAGS=-Wl,-undefined,dynamic_lookup \
        -DARMT_LLAMA_DIR="$llama" -DARMT_PREBUILT_DIR="$work/$1/ggml" -DARMT_LLAMA_VERSION="$suffix$pinned" \
        -DARMT_OUTPUT_DIR="$work/$1/lib" >"$1/cmake.log" 2>&1 || { tail -n 30 "$1/cmake.log" >&2; exit 1; }
    ninja -C "$1/cmake" -j "${JOBS:-2}" llama ggml-rpc >"$1/ninja.log" || { tail -n 40 "$1/ninja.log" >&2; exit 1; }
}

build_addon() { # <target>, with the flags of native/gyp/binding.gyp
    local source flags
    flags=(-O0 -DNDEBUG -std=c++17 -fvisibility=hidden -Wall -Wextra -Werror -DNAPI_VERSION=9
        -DNODE_ADDON_API_CPP_EXCEPTIONS -DNODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS
        -I"$repository/native/engine" -isystem "$llama/include"
        -isystem "$llama/ggml/include" -isystem node-api-headers/include
        -isystem "$repository/node_modules/node-addon-api")
    mkdir -p "$1/addon"
    for source in "$repository/native/addon"/*.cpp; do
        "$1/bin/c++" "${flags[@]}" -c -o "$1/addon/$(basename "$source" .cpp).o" "$source"
    done
    "$1/bin/c++" -bundle -Wl,-undefined,dynamic_lookup -o "$1/lib/armt.node" "$1/addon"/*.o
}

# "<function> <library>"; "?" is a library that has to be found in the process
undefined() { # <file>
    llvm-nm -m --undefined-only "$1" | sed -nE 's/^.*external _([^ ]+)( \(from (.*)\))?.*$/\1 \3/p' |
        awk '{ print $1, NF == 1 || $2 == "(dynamically" ? "?" : $2 }' | sort -u
}
exported() { # <file>...
    local file
    for file; do llvm-nm --extern-only --defined-only "$file"; done | awk 'NF == 3 { print substr($3, 2) }' | sort -u
}
list() { paste -sd' ' | sed 's/^$/none/'; }
brief() { list | awk '{ print (NF > 10 ? NF : $0) }'; }

report() { # <file> <what the rest is> <a file of names that the rest may have>
    local file=$1 library
    undefined "$file" >symbols
    echo "$(basename "$file") is linked and leaves $(wc -l <symbols) functions undefined:"
    for library in $(awk '$2 != "?" { print $2 }' symbols | sort -u); do
        awk -v library="$library" '$2 == library { print $1 }' symbols >of-library
        case $library in
            libSystem) echo "    $(wc -l <of-library) of macOS's libSystem, which the linker found in its list" ;;
            *)
                exported "$bins/$library"*.dylib >exports
                echo "    $(wc -l <of-library) of @node-llama-cpp/$package's $library; not exported there: $(comm -23 of-library exports | list)"
                ;;
        esac
    done
    awk '$2 == "?" { print $1 }' symbols >in-process
    echo "    $(wc -l <in-process) that the process has to have; $2: $(comm -12 in-process "$3" | brief); others: $(comm -23 in-process "$3" | list)"
}

check() { # <architecture>
    local arch=$1 target suffix='' processor name
    case $arch in
        arm64) target=aarch64-macos.13.0 package=mac-arm64-metal suffix=metal. processor=arm64 ;;
        x64) target=x86_64-macos.13.0 package=mac-x64 processor=x86_64 ;;
    esac
    bins=$work/$package/bins/$package
    echo "Zig $("${zig[@]}" version), $("${zig[@]}" c++ --version | head -n 1); llama.cpp $pinned"
    echo "@node-llama-cpp's packages for macOS are $release, with llama.cpp $llama_release"
    printf '\nmacOS %s\n' "$arch"
    unpack "@node-llama-cpp/$package@$release" "$package"
    tools "$target"
    build_library "$target" "$processor" "$package" "$suffix"
    build_addon "$target"
    local library=$target/lib/libllama.$suffix$pinned.dylib
    exported "$bins"/libggml*.dylib >ggml
    # what the linker did not find may only be what the older release of ggml does not have
    grep -hEo '\b(ggml|gguf)_[a-z0-9_]+' "$llama"/ggml/include/ggml.h | sort -u | comm -23 - ggml >newer
    report "$library" "of ggml $pinned alone" newer
    report "$target/lib/libggml-rpc.so" "of ggml $pinned alone" newer
    report "$target/lib/armt.node" "of Node-API" node-api
    echo "its install name: $(llvm-objdump --macho --dylib-id "$library" | tail -n 1)"
    for name in llama-addon.node libllama-common.dylib; do
        undefined "$bins/$name" | awk '$2 ~ /^libllama\./ { print $1 }' >wanted
        exported "$library" >ours
        echo "$name of node-llama-cpp $release expects $(wc -l <wanted) functions of libllama; not in ours: $(comm -23 wanted ours | llvm-cxxfilt | list)"
    done
}

# a log is replaced when its check has ended
for arch in $architectures; do
    check "$arch" | sed -e "s#$work/##g; s#$repository/##g" | tee "$work/log.txt"
    cp "$work/log.txt" "$repository/bench/results/platforms/macos-$arch.txt"
done
