"""Calls the project's command `armt`, so that what was trained is compared with what the engine computes."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from safetensors.torch import load_file

MAIN = Path(__file__).parents[2] / "dist" / "src" / "cli" / "main.js"


def armt(*arguments):
    if not MAIN.is_file() or shutil.which("node") is None:
        pytest.fail(f"{MAIN} is missing, or node is: run npm install first")
    done = subprocess.run(["node", str(MAIN), *map(str, arguments)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"armt {' '.join(map(str, arguments))}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def engine_logits(model, ids, folder):
    """Logits [n, V] of a model file, and its memory after all segments."""
    tokens, out = folder / "ids.json", folder / "logits.safetensors"
    tokens.write_text(json.dumps(ids))
    out.unlink(missing_ok=True)
    armt("logits", model, "--tokens", tokens, "--out", out, "--memory", "--threads", 1)
    return load_file(out)
