"""The command `armt-train`."""

import argparse
import json
import os
import sys
from pathlib import Path

from armt_train import __version__
from armt_train.errors import TrainError


def main(arguments=None):
    parser = argparse.ArgumentParser(
        prog="armt-train", description="Trains a memory (ARMT) for a public language model."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True)
    add_run(commands)
    add_export(commands)
    add_average(commands)
    add_corpus(commands)
    options = parser.parse_args(arguments)
    # forked processes must not use the tokenizer's threads
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        options.act(options)
    except TrainError as error:
        sys.exit(f"armt-train: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


def add_run(commands):
    run = commands.add_parser(
        "run",
        help="train a recipe",
        description="Trains. The same command goes on with a run that was stopped.",
        epilog="Several GPUs: torchrun --nproc-per-node 2 -m armt_train run …; the batch is for each GPU.",
    )
    run.set_defaults(act=do_run)
    run.add_argument("--base", type=Path, metavar="PATH", help="the base model: a Hugging Face folder or a GGUF file")
    run.add_argument(
        "--base-name", metavar="NAME", help="what the memory's file calls the base (default: what the base's files say)"
    )
    run.add_argument(
        "--recipe", default="memory", metavar="NAME", help="a recipe of the package or a JSON file (default: memory)"
    )
    run.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="folder of the run")
    run.add_argument(
        "--set", action="append", default=[], metavar="KEY=JSON", help="overrides the recipe, e.g. model.n_mem=32"
    )
    run.add_argument("--tune", choices=("memory", "lora", "all"), help="what is trained beside the memory")
    run.add_argument("--lora-r", type=int, metavar="N", help="rank of LoRA")
    run.add_argument(
        "--lora-alpha", type=float, metavar="X", help="LoRA's alpha; its factor is alpha / r (default: 2 r)"
    )
    run.add_argument("--lora-modules", metavar="NAMES", help="matrices with LoRA: q_proj,v_proj or all")
    run.add_argument(
        "--from", dest="weights", type=Path, metavar="FOLDER", help="start from the trained weights of another run"
    )
    run.add_argument("--start-stage", type=int, default=1, metavar="N", help="begin with the N-th stage")
    run.add_argument("--seconds", type=float, default=float("inf"), help="save and end after that long")
    run.add_argument("--until", action="append", default=[], metavar="KEY=X", help="end when reached, e.g. recall=0.95")
    run.add_argument("--batch", type=int, metavar="N", help="streams a GPU, in the place of the recipe's")
    run.add_argument("--checkpointing", action="store_true", help="compute activations twice to save memory")
    run.add_argument("--workers", type=int, metavar="N", help="processes that make data (default: cores less 2)")
    run.add_argument("--device", choices=("cuda", "cpu"))
    run.add_argument("--compile", action=argparse.BooleanOptionalAction, help="compile the layers (default: on a GPU)")
    run.add_argument("--save-every", type=float, default=600, metavar="SECONDS")
    run.add_argument(
        "--keep-state",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="save the whole state to go on exactly",
    )
    run.add_argument(
        "--fresh-state", action="store_true", help="go on from trained weights only, even if the whole state is there"
    )
    run.add_argument(
        "--dry-run", action="store_true", help="check everything that needs no GPU, and say what memory it takes"
    )


def add_export(commands):
    export = commands.add_parser(
        "export",
        help="write the memory's file, or a whole checkpoint",
        description="Exports the trained weights of a run's folder.",
    )
    export.set_defaults(act=do_export)
    export.add_argument("run", type=Path, metavar="FOLDER", help="the run's folder")
    export.add_argument("--base", type=Path, metavar="PATH", help="the base that it was trained on")
    export.add_argument("--output", type=Path, metavar="FILE", help="memory file: .safetensors or .gguf")
    export.add_argument(
        "--type", choices=("f32", "f16", "bf16", "q8_0"), help="of its matrices (default: f16; .gguf: q8_0)"
    )
    export.add_argument(
        "--merged", type=Path, metavar="FOLDER", help="a whole ARMT checkpoint, as `armt convert` reads it"
    )


def add_average(commands):
    average = commands.add_parser(
        "average",
        help="make weights between those of several runs",
        description="Averages the trained weights of runs that started from each other or from the same weights.",
    )
    average.set_defaults(act=do_average)
    average.add_argument("runs", type=Path, nargs="+", metavar="FOLDER", help="folders of two runs or more")
    average.add_argument(
        "--output", type=Path, required=True, metavar="FOLDER", help="folder to export, or to start a run --from"
    )
    average.add_argument("--weights", metavar="X,X", help="of each run (default: all the same)")


def add_corpus(commands):
    from armt_train.data import corpus

    command = commands.add_parser(
        "corpus", help="fetch the prose and word lists that recipes train on", description=corpus.__doc__
    )
    command.formatter_class = argparse.RawDescriptionHelpFormatter
    corpus.add_arguments(command)
    command.set_defaults(act=corpus.run)


def overrides_of(options, values):
    """The recipe's overrides that options stand for."""
    out = list(options.set)
    if options.base_name:
        out.append(f"base_name={json.dumps(options.base_name)}")
    if options.tune:
        out.append(f'training.tune="{options.tune}"')
    if options.lora_r is not None:
        out.append(f"training.lora.r={options.lora_r}")
        if options.lora_alpha is None:
            out.append(f"training.lora.alpha={2 * options.lora_r}")
    if options.lora_alpha is not None:
        out.append(f"training.lora.alpha={options.lora_alpha}")
    if options.lora_modules:
        names = ", ".join(f'"{name}"' for name in options.lora_modules.split(","))
        out.append(f"training.lora.modules=[{names}]")
    if options.checkpointing:
        out.append("training.checkpointing=true")
    if options.batch is not None:
        out += [f"stages.{i}.batch={options.batch}" for i in range(len(values["stages"]))]
    return out


def do_run(options):
    from armt_train.loop.recipe import read_recipe
    from armt_train.loop.run import Options, run

    _, values = read_recipe(options.recipe)
    recipe, values = read_recipe(options.recipe, overrides_of(options, values))
    until = {}
    for rule in options.until:
        key, _, value = rule.partition("=")
        try:
            until[key] = float(value)
        except ValueError:
            raise TrainError(f"--until {rule}: KEY=X is expected, as in recall=0.95") from None
    if not 1 <= options.start_stage <= len(recipe.stages):
        raise TrainError(f"--start-stage {options.start_stage}: the recipe has {len(recipe.stages)} stages")
    if options.workers is not None and options.workers < 0:
        raise TrainError(f"--workers {options.workers}: expected 0 or more")
    run(
        recipe,
        values,
        Options(
            out=options.out,
            base=options.base,
            weights=options.weights,
            seconds=options.seconds,
            until=until,
            workers=options.workers,
            device=options.device,
            compile=options.compile,
            dry_run=options.dry_run,
            save_every=options.save_every,
            keep_state=options.keep_state,
            fresh_state=options.fresh_state,
            start_stage=options.start_stage - 1,
        ),
    )


def do_average(options):
    from armt_train.export.average import average

    weights = None
    if options.weights is not None:
        try:
            weights = [float(weight) for weight in options.weights.split(",")]
        except ValueError:
            raise TrainError(f"--weights {options.weights}: numbers are expected, as in 0.5,0.5") from None
    average(options.runs, options.output, weights)
    print(options.output)


def do_export(options):
    import torch

    from armt_train.export.memory_file import export_memory
    from armt_train.export.merged import export_merged
    from armt_train.loop import saving
    from armt_train.loop.recipe import recipe_of_run
    from armt_train.loop.setup import load_model

    if options.output is None and options.merged is None:
        raise TrainError("say what to write: --output FILE or --merged FOLDER")
    recipe = recipe_of_run(options.run)
    base, model = load_model(recipe, options.base, torch.device("cpu"))
    saving.load_trained(options.run, model)
    position = saving.read_position(options.run)
    if options.output is not None:
        kind = options.type or ("q8_0" if options.output.suffix == ".gguf" else "f16")
        training = {"steps": position["done"], "seconds": round(position["seconds"])}
        if "average" in position:
            training["average"] = position["average"]
        print(export_memory(options.output, base, model, recipe, kind, training))
    if options.merged is not None:
        print(export_merged(options.merged, base, model, recipe))
