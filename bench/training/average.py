"""Weights between those of two runs, of which the second started from the first: they keep more of what the first had
learned, and have much of what the second did. Both must have trained the same tensors.

    PYTHONPATH=train python bench/training/average.py FIRST SECOND OUTPUT [--share 0.5]

`--share`: of the second. The second's recipe and slots maps come along.
"""

import argparse
import shutil
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file

from armt_train.loop import saving


def read(folder):
    """The tensors of a run's trained weights by name, and what each file holds: (name, tensors, metadata)."""
    tensors, files = {}, []
    for path in saving.trained_files(folder):
        with safe_open(path, "pt") as file:
            names = list(file.keys())
            tensors |= {name: file.get_tensor(name) for name in names}
            files.append((path.name, names, file.metadata()))
    return tensors, files


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name in ("first", "second", "output"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--share", type=float, default=0.5)
    options = parser.parse_args()
    first, _ = read(options.first)
    second, files = read(options.second)
    if not second or first.keys() != second.keys():
        raise SystemExit(f"{options.first} and {options.second} have not trained the same tensors")
    options.output.mkdir(parents=True, exist_ok=True)
    for path, names, metadata in files:
        between = {
            name: first[name].double().lerp(second[name].double(), options.share).to(second[name].dtype)
            for name in names
        }
        save_file(between, options.output / path, metadata=metadata)
    for name in ("recipe.json", "slots.safetensors"):
        shutil.copyfile(options.second / name, options.output / name)


if __name__ == "__main__":
    main()
