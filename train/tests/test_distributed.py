"""Two processes with half of the streams each train as one process with all of them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import torch
from helpers import tiny_recipe, write_base

HERE = Path(__file__).parent


def command(arguments, processes):
    launcher = (
        ["-m", "torch.distributed.run", "--nproc-per-node", str(processes), "--standalone"] if processes > 1 else []
    )
    environment = os.environ | {"PYTHONPATH": f"{HERE}{os.pathsep}{HERE.parent}", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *launcher, str(HERE / "run_random.py"), *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-4000:]


def test_two_gloo_processes_equal_one_process_with_both_shares(tmp_path):
    base = write_base(tmp_path / "base")
    # distillation draws chats on each rank by itself, so it is left out
    values = tiny_recipe(stages__0__steps=3, stages__0__losses__keep=0)
    results = {}
    for processes, batch, workers in ((1, 4, 2), (2, 2, 1)):
        values["stages"][0]["batch"] = batch
        recipe = tmp_path / f"recipe-{processes}.json"
        recipe.write_text(json.dumps(values))
        out = tmp_path / f"run-{processes}"
        common = ["run", "--base", str(base), "--recipe", str(recipe), "--out", str(out), "--device", "cpu"]
        command([*common, "--workers", str(workers)], processes)
        results[processes] = [torch.load(out / f"state-{r}.pt", weights_only=False) for r in range(processes)]
    (one,), (first, second) = results[1], results[2]
    moved = 0.0
    for name, a, b, c in zip(one["names"], one["weights"], first["weights"], second["weights"]):
        assert torch.equal(b, c), f"{name} differs between ranks"
        torch.testing.assert_close(a, b, atol=2e-5, rtol=1e-4, msg=lambda text, name=name: f"{name}: {text}")
        moved += a.abs().sum().item()
    assert moved > 0
    for a, b, c in zip(one["memory"], first["memory"], second["memory"]):
        torch.testing.assert_close(a, torch.cat([b, c], 1), atol=1e-3, rtol=1e-3)
