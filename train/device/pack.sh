#!/usr/bin/env bash
# Packs what a run needs into parts, for a GPU machine without a network that takes only so much at once.
#   train/device/pack.sh BASE.gguf train/data build/device [MiB of a part, default 16]
# Parts: the base, what `armt-train corpus` wrote (without the packages), and the `gguf` package for Python.
set -euo pipefail
base=$1 data=$2 out=$3 size=${4:-16}
[ -f "$base" ] || { echo "pack: there is no base $base" >&2; exit 2; }
[ -f "$data/words.json" ] || { echo "pack: $data has no words.json; run armt-train corpus --out $data" >&2; exit 2; }
rm -rf "$out"
mkdir -p "$out/parts" "$out/all/data"
cp "$base" "$out/all/base.gguf"
cp "$data"/*.xz "$data/words.json" "$out/all/data/"
python3 -m pip download --quiet --no-deps --only-binary :all: --dest "$out/all" gguf
tar -C "$out/all" -cf "$out/all.tar" .
split -b "${size}M" -d -a 3 "$out/all.tar" "$out/parts/part-"
(cd "$out" && sha256sum all.tar) >"$out/sum"
rm -rf "$out/all" "$out/all.tar"
for part in "$out"/parts/part-*; do
    n=${part##*-}
    mkdir "$out/$n"
    mv "$part" "$out/$n/"
    cp "$out/sum" "$out/$n/"
    echo "$out/$n"
done
rmdir "$out/parts"
