#!/usr/bin/env bash
# On the GPU machine, in the folder with armt-app, after start.sh: runs the evaluations of a list, ten at once, and keeps
# each one's table and numbers. A line of the list has a name, the seconds that it may take, and arguments of `armt eval`:
#   armt-app/eval.sh armt-app/smollm2-135m.txt OUT [AT_ONCE]
# NVIDIA's MPS, where it is installed, lets the kernels of several processes run side by side.
set -euo pipefail
[ $# -ge 2 ] || { echo "usage: armt-app/eval.sh LIST OUT [AT_ONCE]" >&2; exit 2; }
app=$(cd "$(dirname "$0")" && pwd)
list=$(realpath "$1") at_once=${3:-10}
mkdir -p "$2"
out=$(realpath "$2")
export app out
cd "$app/files"
if command -v nvidia-cuda-mps-control >/dev/null; then
    CUDA_MPS_PIPE_DIRECTORY=$(mktemp -d)
    export CUDA_MPS_PIPE_DIRECTORY CUDA_MPS_LOG_DIRECTORY=$CUDA_MPS_PIPE_DIRECTORY
    if nvidia-cuda-mps-control -d; then
        trap 'echo quit | nvidia-cuda-mps-control' EXIT
    else
        unset CUDA_MPS_PIPE_DIRECTORY CUDA_MPS_LOG_DIRECTORY
    fi
fi

evaluate() {
    local name=$1 limit=$2 before=$SECONDS status=0
    shift 2
    timeout "$limit" "$app/node" "$app/dist/src/cli/main.js" eval "$@" --gpu cuda --threads 2 --no-verify \
        --json "$out/$name.json" >"$out/$name.txt" 2>&1 || status=$?
    echo "$name: exit code $status after $((SECONDS - before)) s" | tee -a "$out/done.txt"
}
export -f evaluate
# words of a line are arguments
grep -v '^#' "$list" | xargs -d '\n' -P "$at_once" -I{} bash -c 'evaluate {}'
