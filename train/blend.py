"""Blends a settled checkpoint into the one that it started from: `python3 train/blend.py --settled FOLDER --into TRAINED/checkpoint`.

The settling run (`settling.json`) pushes the writes of filler to nothing, so that memory holds for a million tokens, but its other weights answer a little worse than
those that it started from. All of its gates W_mb and a share of the rest keep the best of both.
"""

import argparse
from pathlib import Path

import tensors


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--settled", required=True, type=Path, help="checkpoint folder of the settling run")
    parser.add_argument("--into", required=True, type=Path, help="checkpoint folder that it started from, and that is changed")
    parser.add_argument("--share", type=float, default=0.3, help="of the settled weights other than the gates")
    args = parser.parse_args()
    settled, trained = (tensors.read(folder / "model.safetensors") for folder in (args.settled, args.into))
    if settled.keys() != trained.keys():
        raise SystemExit(f"{args.settled} and {args.into} are not of the same shape")

    def blend(name):
        share = 1 if ".W_mb." in name else args.share
        return share * settled[name] + (1 - share) * trained[name]

    tensors.write(args.into / "model.safetensors", {name: blend(name) for name in trained})


if __name__ == "__main__":
    main()
