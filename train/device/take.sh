#!/usr/bin/env bash
# On the GPU machine: takes one of the folders that pack.sh made, and unpacks all when the last is there.
#   train/device/take.sh build/device/003 [STORE, default ~/armt]
set -euo pipefail
part=$1 store=${2:-$HOME/armt}
mkdir -p "$store/parts"
cp "$part"/part-* "$store/parts/"
cp "$part/sum" "$store/sum"
cat "$store"/parts/part-* >"$store/all.tar"
if (cd "$store" && sha256sum --status -c sum); then
    tar -C "$store" -xf "$store/all.tar"
    python3 -m pip install --quiet --no-deps --no-index "$store"/gguf-*.whl
    rm -rf "$store/parts" "$store/all.tar"
    touch "$store/ready"
    echo "all parts are here: $store"
else
    echo "$(ls "$store/parts" | wc -l) parts are here, more are needed"
fi
