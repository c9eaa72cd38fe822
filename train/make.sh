#!/bin/sh
# From nothing to a checkpoint that `armt convert` reads: train/make.sh [FOLDER]. Needs a GPU, PyTorch 2 and the Debian packages bible-kjv and jargon-text.
set -eu
here=$(dirname "$0")
out=${1:-$here/runs}
[ -f "$here/data/prose-train.txt" ] || python3 "$here/corpus.py"
python3 "$here/train.py" --out "$out/recall"
python3 "$here/train.py" --config "$here/settling.json" --weights "$out/recall/checkpoint/model.safetensors" --out "$out/settled"
echo "$out/settled/checkpoint"
