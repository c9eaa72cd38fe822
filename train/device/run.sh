#!/usr/bin/env bash
# On the GPU machine: trains for so many seconds, and puts what must not be lost into OUT. The same command goes on:
# with the same data and optimizer while the machine's store is there, else from the trained weights that came back.
#   OUT=out train/device/run.sh SECONDS [STORE, default ~/armt] [options of armt-train run]
set -euo pipefail
seconds=$1 store=${2:-$HOME/armt}
shift $(($# < 2 ? $# : 2))
here=$(cd "$(dirname "$0")/../.." && pwd)
run=$store/run
[ -e "$store/ready" ] || { echo "run: $store lacks parts; see take.sh" >&2; exit 2; }
mkdir -p "$run" "${OUT:?a folder for what comes back}"
export PYTHONPATH=$here/train PYTHONUNBUFFERED=1 TORCHINDUCTOR_CACHE_DIR=$store/compiled
gpus=$(python3 -c 'import torch; print(torch.cuda.device_count())')
start=(python3 -m armt_train)
if [ "$gpus" -gt 1 ]; then
    start=(python3 -m torch.distributed.run --standalone --nproc-per-node "$gpus" -m armt_train)
fi
# a machine that was started anew: from what came back of the last run, if it was carried along
if ! ls "$run"/trained-*.safetensors >/dev/null 2>&1 && [ -d "${RESUME:-}" ]; then
    cp "$RESUME"/*.safetensors "$run/"
fi
finish() {
    for file in "$run"/trained-*.safetensors "$run"/slots.safetensors "$run"/memory.gguf "$run"/log.jsonl \
        "$run"/recipe.json; do
        [ -e "$file" ] && cp "$file" "$OUT/"
    done
    return 0
}
trap finish EXIT
"${start[@]}" run --base "$store/base.gguf" --base-name "${BASE_NAME:-SmolLM2-135M-Instruct}" --out "$run" \
    --from "$here/train/checkpoints/smollm2-135m" --start-stage "${START_STAGE:-3}" --seconds "$seconds" \
    --save-every 240 --set "data.folder=\"$store/data\"" "$@"
