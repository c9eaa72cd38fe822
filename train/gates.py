"""Puts the gates W_mb of one checkpoint into another: `python3 train/gates.py --from SETTLED --into TRAINED/checkpoint`.

The settling run (`settling.json`) pushes the writes of filler to nothing, so that memory holds for a million tokens, but its other weights answer a little worse than
those that it started from. The gates alone keep both.
"""

import argparse
from pathlib import Path

import tensors


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--from", dest="source", required=True, type=Path, help="checkpoint folder with the gates")
    parser.add_argument("--into", required=True, type=Path, help="checkpoint folder that gets them")
    args = parser.parse_args()
    source, target = (tensors.read(folder / "model.safetensors") for folder in (args.source, args.into))
    if source.keys() != target.keys():
        raise SystemExit(f"{args.source} and {args.into} are not of the same shape")
    gates = [name for name in target if ".W_mb." in name]
    tensors.write(args.into / "model.safetensors", {name: source[name] if name in gates else t for name, t in target.items()})
    print(f"{len(gates)} tensors of gates taken over")


if __name__ == "__main__":
    main()
