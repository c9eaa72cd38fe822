"""A base of random weights, of LLaMA's shape, for recipes that train everything."""

from importlib import resources

import torch

from armt_train.base.families import FAMILIES
from armt_train.base.load import Base, build_model
from armt_train.base.tokenizer import BaseTokenizer
from armt_train.errors import TrainError

KEYS = {"layers", "heads", "kv_heads", "width", "ffn", "tokenizer"}
EMBEDDING_STD = 0.5
# small, since the embeddings that it meets are large
FIRST_OUTPUT_NORM = 0.1


def scratch_base(sizes):
    """`sizes`: layers, heads, kv_heads, width, ffn, and tokenizer, the name of a tokenizer of the package's recipes."""
    import transformers
    from tokenizers import Tokenizer

    if set(sizes) != KEYS:
        raise TrainError(
            f"model.scratch: the keys {', '.join(sorted(KEYS))} are needed, not {', '.join(sorted(sizes))}"
        )
    file = resources.files("armt_train.recipes") / f"{sizes['tokenizer']}-tokenizer.json"
    if not file.is_file():
        raise TrainError(f'model.scratch.tokenizer: there is no tokenizer "{sizes["tokenizer"]}"')
    tokenizer = Tokenizer.from_str(file.read_text())
    end = next(i for i, token in tokenizer.get_added_tokens_decoder().items() if token.special)
    rows = tokenizer.get_vocab_size(with_added_tokens=True)
    config = transformers.LlamaConfig(
        vocab_size=rows,
        hidden_size=sizes["width"],
        intermediate_size=sizes["ffn"],
        num_hidden_layers=sizes["layers"],
        num_attention_heads=sizes["heads"],
        num_key_value_heads=sizes["kv_heads"],
        max_position_embeddings=4096,
        rms_norm_eps=1e-5,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=end,
        pad_token_id=None,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
    )
    model = build_model(config)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.dim() == 1:
                p.fill_(FIRST_OUTPUT_NORM if name == "model.norm.weight" else 1.0)
            else:
                # 0.02 as in large models leaves too little of a key in a memory token for a gradient to find
                p.normal_(std=EMBEDDING_STD if "embed" in name else p.shape[1] ** -0.5)
    model.tie_weights()
    template = resources.files("armt_train.recipes") / f"{sizes['tokenizer']}-chat.jinja"
    return Base(
        name=sizes["tokenizer"],
        license="mit",
        architecture="llama",
        family=FAMILIES["llama"],
        config=config,
        model=model,
        tokenizer=BaseTokenizer(
            tokenizer, rows, end_ids=[end], chat_template=template.read_text() if template.is_file() else None
        ),
        fingerprint={},
    )
