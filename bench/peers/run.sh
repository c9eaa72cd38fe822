#!/usr/bin/env bash
# Compares the ARMT authors' PyTorch code with this engine, one after the other on one GPU.
#
#   bench/peers/run.sh [options] ARMT DIAGONAL OUT
#
# ARMT      checkout of github.com/RodkinIvan/associative-recurrent-memory-transformer
# DIAGONAL  checkout of github.com/svtdanny/diagonal-batching
# OUT       folder for the results: authors.json, engine.json, and both in peers.json and peers.svg
#
#   -p PARTS    what cuda-check times (targets,stock,decode)
#   -d          PyTorch's full attention with cuDNN's kernels as well: cudnn.json
#   -o PROGRAM  only "authors" or "engine"; ARMT and DIAGONAL may be "-" for the engine
#   -c FILE     cuda-check (native/build/lib-cuda/cuda-check)
#   -m FOLDER   where cuda-check puts its random models, some GB for a while (a temporary one)
#   -t PYTHON   Python with torch and transformers (python3)
#   -h          this text
#
# Needs a GPU that does nothing else, the engine built with `armt build --gpu cuda --tuned`, and cuda-check: see docs/gpu.md.
# Clones and installs nothing. What OUT has of an earlier call, and this call does not measure, is merged too, with a note. So is what was
# measured where a program fails; the exit code is 1 then.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
parts=targets,stock,decode
only=all
cudnn=false
check=$root/native/build/lib-cuda/cuda-check
models=
python=python3

usage() { awk 'NR > 1 && !/^#/ { exit } NR > 1 { sub(/^# ?/, ""); print }' "${BASH_SOURCE[0]}"; }
fail() {
    echo "run.sh: $1" >&2
    exit 2
}

while getopts :p:do:c:m:t:h option; do
    case $option in
    p) parts=$OPTARG ;;
    d) cudnn=true ;;
    o) only=$OPTARG ;;
    c) check=$OPTARG ;;
    m) models=$OPTARG ;;
    t) python=$OPTARG ;;
    h)
        usage
        exit 0
        ;;
    :) fail "-$OPTARG needs a value" ;;
    *) fail "no such option: -$OPTARG; -h lists them" ;;
    esac
done
shift $((OPTIND - 1))
[ $# -eq 3 ] || fail "expected ARMT DIAGONAL OUT; -h explains them"
armt=$1 diagonal=$2 out=$3

case $only in
all) programs="authors engine" ;;
authors | engine) programs=$only ;;
*) fail "-o $only: expected authors or engine" ;;
esac
runs() { [[ " $programs " == *" $1 "* ]]; }

# All that is missing shows before anything is measured
merge=$root/dist/bench/peers/peers.js
[ -f "$merge" ] || fail "$merge is missing: npx tsc --build makes it"
command -v node >/dev/null || fail "node is missing"
if runs authors; then
    [ -f "$armt/modeling_amt/language_modeling.py" ] ||
        fail "ARMT: $armt/modeling_amt/language_modeling.py is missing; git clone https://github.com/RodkinIvan/associative-recurrent-memory-transformer"
    [ -f "$diagonal/fast_executor.py" ] ||
        fail "DIAGONAL: $diagonal/fast_executor.py is missing; git clone https://github.com/svtdanny/diagonal-batching"
    command -v "$python" >/dev/null || fail "$python is missing; -t names another Python"
    for module in torch transformers; do
        "$python" -c "import $module" 2>/dev/null || fail "$python cannot import $module: pip install $module, or -t names another Python"
    done
fi
if runs engine; then
    [ -x "$check" ] || fail "$check is missing: docs/gpu.md says how to build cuda-check; -c names another place"
fi

# What this call measures
names=()
if runs authors; then names+=(authors); fi
if runs authors && $cudnn; then names+=(cudnn); fi
if runs engine; then names+=(engine); fi
mkdir -p "$out"
for name in "${names[@]}"; do
    [ ! -e "$out/$name.json" ] || fail "$out/$name.json exists: remove it, or take another folder"
done

temporary=
trap '[ -z "$temporary" ] || rm -rf "$temporary"' EXIT
if [ -z "$models" ]; then
    temporary=$(mktemp -d)
    models=$temporary
fi

failed=()
# NAME COMMAND PROGRAM...: COMMAND is what the result says, without this machine's paths
measure() {
    local name=$1 command=$2
    shift 2
    echo "== $command"
    echo "$command" >"$out/$name.command"
    "$@" && return
    failed+=("$command")
    # authors.py leaves a whole file where one of its peers failed, and cuda-check one that ends anywhere
    if [ "$name" = engine ] && [ -e "$out/engine.json" ]; then mv "$out/engine.json" "$out/engine.incomplete"; fi
}

authors=$root/bench/peers/authors.py
for name in "${names[@]}"; do
    case $name in
    authors)
        measure authors "python3 bench/peers/authors.py FILE --armt … --diagonal …" \
            "$python" "$authors" "$out/authors.json" --armt "$armt" --diagonal "$diagonal"
        ;;
    cudnn)
        measure cudnn "python3 bench/peers/authors.py FILE --peers full --sdpa cudnn" \
            "$python" "$authors" "$out/cudnn.json" --peers full --sdpa cudnn
        ;;
    engine) measure engine "cuda-check speed FOLDER FILE $parts" "$check" speed "$models" "$out/engine.json" "$parts" ;;
    esac
done

merged=()
for name in authors cudnn engine; do
    [ -e "$out/$name.json" ] || continue
    merged+=("$name=$out/$name.json" --command "$name=$(cat "$out/$name.command")")
    [[ " ${names[*]} " == *" $name "* ]] || merged+=(--note "$name=measured in an earlier call")
done
if [ ${#merged[@]} -gt 0 ]; then
    echo
    node "$merge" "$out/peers.json" "${merged[@]}"
fi
for command in "${failed[@]}"; do echo "run.sh: failed, see above: $command" >&2; done
[ ${#failed[@]} -eq 0 ]
