"""Texts on which the model is compared with its base while it learns: chats that the base writes itself (its template
up to a user's turn, then whatever it makes of it), and prose.
"""

import hashlib
import json
import random

import torch

from armt_train.loop.saving import replace

BATCH = 1024
MARK = "\u2402"


def chat_prefix(tokenizer):
    """Ids of the template up to the beginning of a user's turn; of a base without a template, the token that texts
    begin or end with.
    """
    first = [] if tokenizer.bos is None else [tokenizer.bos]
    if tokenizer.chat_template is None:
        return first or [tokenizer.end]
    text = tokenizer.chat([{"role": "user", "content": MARK}]).split(MARK)[0]
    ids = tokenizer.encode(text, special=True)
    return ids if not first or ids[:1] == first else first + ids


@torch.no_grad()
def write_chats(base_model, prefix, count, length, device, seed):
    """Samples `count` texts of `length` tokens, the prefix included, from the base (before LoRA is put into it). Gives
    [count, length] on the CPU.
    """
    torch.manual_seed(seed)
    base_model.to(device)
    generation = base_model.generation_config
    generation.eos_token_id = generation.pad_token_id = None
    out = []
    while sum(len(part) for part in out) < count:
        size = min(BATCH if device.type == "cuda" else 64, count - sum(len(part) for part in out))
        ids = torch.tensor([prefix], device=device).expand(size, -1)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            made = base_model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                do_sample=True,
                temperature=1.0,
                top_k=0,
                top_p=1.0,
                max_new_tokens=length - len(prefix),
                min_new_tokens=length - len(prefix),
            )
        out.append(made.cpu())
    return torch.cat(out)


def load_or_write_chats(base, keep, folder, device, seed, say):
    """The chats and the length of their prefix; kept in a file of the folder, named by the base and the sizes."""
    from safetensors.torch import load_file, save_file

    prefix = chat_prefix(base.tokenizer)
    facts = [base.fingerprint, keep.chats, keep.length, seed, prefix]
    name = f"chats-{hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]}.safetensors"
    file = folder / name
    if file.is_file():
        return load_file(file)["ids"].long(), len(prefix)
    say(f"the base writes {keep.chats} chats of {keep.length} tokens")
    ids = write_chats(base.model, prefix, keep.chats, keep.length, device, seed)
    replace(file, lambda p: save_file({"ids": ids.int().contiguous()}, p))
    return ids, len(prefix)


def with_prose(chats, share, texts, tokenizer, seed):
    """The chats [count, length] and so many windows of prose that they are `share` of all. `texts` has `passage(rng)`,
    which gives sentences.
    """
    count, length = round(len(chats) * share / (1 - share)), chats.shape[1]
    rng, windows = random.Random(seed), []
    while len(windows) < count:
        ids = []
        while len(ids) < length:
            ids += tokenizer.encode(" ".join(texts.passage(rng)) + "\n")
        windows.append(ids[:length])
    return torch.cat([chats, torch.tensor(windows, dtype=chats.dtype).reshape(-1, length)])
