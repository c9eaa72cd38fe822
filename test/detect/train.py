"""Trains the tiny models of test/detect/trained/, which differ in what `armt detect` has to find out.

    pip install ./train
    python test/detect/train.py [name ...]

Each is trained from random weights on a CPU within two minutes of computing time, with the trainer's own model
(train/armt_train). The texts are made here: a document draws its words from a few of the vocabulary, so that the memory
of earlier segments tells which words come. Writes model.safetensors (float16), config.json and armt_config.json, which
lacks what is to be found out, and text.json, the token ids of documents that were not trained on, one after the other.
"""

import json
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
import transformers
from safetensors.torch import save_file

from armt_train.base.load import build_model
from armt_train.export.merged import merged_tensors
from armt_train.model import Armt, ArmtConfig

VOCAB, TOPIC, STEPS, BATCH, SEGMENT, SEGMENTS, WIDTH, LAYERS = 96, 8, 1000, 24, 16, 4.5, 32, 2
LENGTH = int(SEGMENTS * SEGMENT)
HELD_OUT = 120
TRAINED = Path(__file__).parent / "trained"

cases = {"normalized": dict(normalize_keys=True), "not-normalized": dict(normalize_keys=False)}


def documents(count, length, generator):
    """[count, length]: words of a document's own topic, which follow one another by a rule that all documents share."""
    topics = torch.rand(count, VOCAB, generator=generator).argsort(1)[:, :TOPIC]
    return topics.gather(1, torch.randint(TOPIC, (count, length), generator=generator))


def base():
    config = transformers.LlamaConfig(
        vocab_size=VOCAB, hidden_size=WIDTH, intermediate_size=64, num_hidden_layers=LAYERS, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=512, tie_word_embeddings=True, bos_token_id=None,
        eos_token_id=None, rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
    )
    model = build_model(config)
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.fill_(1.0) if p.dim() == 1 else p.normal_(std=0.3 if "embed" in name else p.shape[1] ** -0.5)
    model.tie_weights()
    return config, model


def losses(model, ids):
    """[batch, tokens - 1]"""
    state, rows = model.empty(len(ids)), []
    for start in range(0, LENGTH, SEGMENT):
        x, state = model.segment(ids[:, None, start : start + SEGMENT], state, first=start == 0)
        rows.append(x[:, 0])
    logits = model.logits(torch.cat(rows, 1))[:, :-1]
    return F.cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none")


def write(file, value):
    file.write_text(json.dumps(value) + "\n")


def train(name, normalize_keys):
    torch.manual_seed(1)
    generator = torch.Generator().manual_seed(1)
    config, inner = base()
    numbers = ArmtConfig(SEGMENT, n_mem=4, d_mem=8, normalize_keys=normalize_keys)
    model = Armt(inner, numbers)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 8e-3, STEPS, pct_start=0.1)
    for step in range(STEPS):
        loss = losses(model, documents(BATCH, LENGTH, generator)).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 100 == 0 or step + 1 == STEPS:
            print(name, step, round(loss.item(), 4), flush=True)
    folder = TRAINED / name
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {key: value.half() for key, value in merged_tensors(model).items()}
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    write(folder / "config.json", config.to_dict() | {"architectures": ["LlamaForCausalLM"]})
    armt = numbers.to_json()
    write(folder / "armt_config.json", {key: armt[key] for key in ("num_mem_tokens", "d_mem", "n_heads", "use_denom", "gating")})


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name, case in cases.items():
        if len(sys.argv) == 1 or name in sys.argv[1:]:
            train(name, **case)
    write(TRAINED / "text.json", documents(HELD_OUT, LENGTH, torch.Generator().manual_seed(2)).flatten().tolist())
