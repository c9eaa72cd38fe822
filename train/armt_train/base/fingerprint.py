"""The fingerprint of a base (docs/memory-file.md): equal for all its quantizations and for its Hugging Face folder."""

import hashlib

from armt_train.base.families import COMPUTED
from armt_train.errors import TrainError

LEFT_OUT = ("output.weight",)


def fingerprint_tensors(shapes):
    """`shapes`: GGUF names and shapes in PyTorch's order."""
    lines = []
    for name in sorted(shapes, key=str.encode):
        if name not in LEFT_OUT and not COMPUTED.match(name):
            lines.append(f"{name} {' '.join(str(n) for n in reversed(shapes[name]))}\n")
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def fingerprint_vocabulary(tokens, rows):
    """`tokens`: texts by id; `rows` of the embedding."""
    tokens = list(tokens[:rows])
    while tokens and tokens[-1] in (None, f"[PAD{len(tokens) - 1}]"):
        tokens.pop()
    digest = hashlib.sha256()
    for token in tokens:
        digest.update((token or "").replace("\u2581", " ").encode() + b"\0")
    return digest.hexdigest()


def fingerprint_norms(norms):
    """`norms`: GGUF names and float32 vectors, as the GGUF file has them."""
    digest = hashlib.sha256()
    for name in sorted(norms, key=str.encode):
        digest.update(name.encode() + b"\0" + norms[name].float().contiguous().numpy().astype("<f4").tobytes())
    return digest.hexdigest()


def is_norm(name, shape):
    return len(shape) == 1 and "norm" in name and name.endswith(".weight")


def fingerprint(source, tokens):
    """Of a GgufBase or FolderBase, and the texts of its vocabulary."""
    if hasattr(source, "tensors"):
        shapes = source.shapes()
        norms = {name: source.read(name) for name, shape in shapes.items() if is_norm(name, shape)}
    else:
        shapes, norms = {}, {}
        for name in source.names:
            theirs = source.family.gguf_name(name)
            if theirs is None:
                raise TrainError(f'{source.path}: its tensor "{name}" has no place in a {source.architecture} model')
            weight = source.read(name)
            shapes[theirs] = tuple(weight.shape)
            if is_norm(theirs, weight.shape):
                norms[theirs] = weight.float() + 1 if source.family.norms_less_one else weight.float()
    rows = shapes["token_embd.weight"][0]
    return {
        "tensors": fingerprint_tensors(shapes),
        "vocabulary": fingerprint_vocabulary(tokens, rows),
        "norms": fingerprint_norms(norms),
    }
