#!/usr/bin/env bash
# What has to be measured of products in e4m3 on a GPU. In the root of a checkout:
#   npx tsc --build && npx armt build --gpu cuda --tuned --cuda-arch 90
#   native/cuda-check/fp8.sh FOLDER                the products and the engine with random weights, no Node
#   native/cuda-check/fp8.sh FOLDER MODEL TEXT     also recall and perplexity of a trained model, for each mixture
# FOLDER takes the results. STEPS names the steps to run: build,check,speed,types,profile,recall,perplexity. Their order
# is fixed. Without build, cuda-check has to be there. A step that fails does not end the others; the exit code is 1 then.
set -uo pipefail

out=${1:?usage: native/cuda-check/fp8.sh FOLDER [MODEL TEXT]}
model=${2:-}
text=${3:-}
steps=${STEPS:-build,check,speed,types,profile,recall,perplexity}
build=native/build/cmake-cuda-check
program=native/build/lib-cuda/cuda-check
failed=0

# What is in e4m3: everything, everything but one product, and the large products
mixtures=("qkv,o,gate_up,down" "qkv,gate_up,down" "o,gate_up,down" "qkv,o,gate_up" "qkv,o,down" "gate_up,down" "gate_up")

mkdir -p "$out"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

wanted() {
    [[ ",$steps," == *",$1,"* ]]
}

# run SECONDS NAME COMMAND...: prints the last lines, and keeps all in FOLDER/NAME.txt
run() {
    local seconds=$1 name=$2 start=$SECONDS
    shift 2
    timeout "$seconds" "$@" > "$out/$name.txt" 2>&1
    local code=$?
    tail -n "${LINES_SHOWN:-14}" "$out/$name.txt"
    echo "[$name: exit code $code, $((SECONDS - start)) s]"
    [ "$code" = 0 ] || failed=1
}

# evaluate NAME ARGUMENTS...: in 16 bits and with each mixture
evaluate() {
    local name=$1 mixture
    shift
    run 300 "$name-16-bits" node dist/src/cli/main.js eval "$@" --gpu cuda --json "$out/$name-16-bits.json"
    for mixture in "${mixtures[@]}"; do
        run 300 "$name-$mixture" node dist/src/cli/main.js eval "$@" --gpu cuda --precision fp8 \
            --fp8-products "$mixture" --json "$out/$name-$mixture.json"
    done
}

if wanted build; then
    run 60 configure cmake -S native/cuda-check -B "$build"
    run 200 build cmake --build "$build" -j "$(nproc)"
fi
[ -x "$program" ] || { echo "fp8.sh: $program is not there" >&2; exit 1; }
if wanted check; then
    run 200 check "$program" check "$scratch" "$out/check.json" fp8
    echo "$(grep -c ' ok$' "$out/check.txt") ok, $(grep -c WRONG "$out/check.txt") wrong"
fi
wanted speed && run 200 speed "$program" speed "$scratch" "$out/speed.json" fp8
wanted types && run 200 types "$program" speed "$scratch" "$out/types.json" fp8-types
wanted profile && run 100 profile "$program" profile "$scratch" "$out/profile" fp8
if [ -n "$model" ]; then
    wanted recall && evaluate recall recall --model "$model" --lengths 4k --questions 300 --seed 20261130
    wanted perplexity && evaluate perplexity perplexity "${text:?perplexity needs a TEXT}" --model "$model" --tokens 8k
fi
exit "$failed"
