"""The base's tokenizer, by the `tokenizers` library: its own tokenizer.json, or built from a GGUF's vocabulary."""

import json
import re
from functools import cached_property

from armt_train.errors import TrainError

CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
LLAMA3 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN2 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
TEKKEN = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# llama.cpp's names of pre-tokenizers (tokenizer.ggml.pre), and what each does before byte-level BPE
SPLITS = {
    "llama-bpe": LLAMA3,
    "llama3": LLAMA3,
    "llama-v3": LLAMA3,
    "smaug-bpe": LLAMA3,
    "qwen2": QWEN2,
    "tekken": TEKKEN,
}
DIGITS = ("smollm", "starcoder", "refact", "command-r", "codeshell")
GPT2 = ("gpt-2", "phi-2", "olmo")
WHOLE_WORDS = (
    "llama-bpe",
    "llama3",
    "llama-v3",
    "tekken",
)  # a word that is a token is taken whole, whatever the merges

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
END_TEXTS = ("<|im_end|>", "<|eot_id|>", "<end_of_turn>", "<|end|>", "<|endoftext|>", "</s>")


class BaseTokenizer:
    """Token ids of texts. Picklable; `len()` is the number of the embedding's rows."""

    def __init__(self, tokenizer, rows, *, bos=None, end_ids=(), chat_template=None, texts=None, bos_text=""):
        self.tokenizer, self.rows = tokenizer, rows
        self.bos, self.chat_template = bos, chat_template
        self.bos_text = bos_text
        self.texts = texts if texts is not None else [tokenizer.id_to_token(i) for i in range(rows)]
        self.end_ids = list(dict.fromkeys(end_ids))
        if not self.end_ids:
            raise TrainError("the base's files name no token that ends a text (eos_token)")

    @classmethod
    def from_folder(cls, source):
        from tokenizers import Tokenizer

        file = source.path / "tokenizer.json"
        if not file.is_file():
            raise TrainError(f"{source.path}: it has no tokenizer.json; save the tokenizer with transformers once")
        tokenizer = Tokenizer.from_file(str(file))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        read = lambda name: json.loads((source.path / name).read_text()) if (source.path / name).is_file() else {}
        settings, generation = read("tokenizer_config.json"), read("generation_config.json")
        text = lambda value: value["content"] if isinstance(value, dict) else value
        eos, bos_text = text(settings.get("eos_token")), text(settings.get("bos_token"))
        template = settings.get("chat_template")
        if (source.path / "chat_template.jinja").is_file():
            template = (source.path / "chat_template.jinja").read_text()
        if isinstance(template, list):
            template = next((t["template"] for t in template if t["name"] == "default"), None)
        ends = [tokenizer.token_to_id(eos)] if eos else []
        for value in (generation.get("eos_token_id"), source.config.eos_token_id):
            ends += value if isinstance(value, list) else [value]
        first = tokenizer.encode("a").ids[0]
        bos = first if bos_text and tokenizer.token_to_id(bos_text) == first else None
        return cls(
            tokenizer,
            source.config.vocab_size,
            bos=bos,
            end_ids=ends_of(tokenizer, template, ends),
            chat_template=template,
            bos_text=bos_text or "",
        )

    @classmethod
    def from_gguf(cls, source):
        keys = source.keys
        kind = keys("tokenizer.ggml.model")
        if kind not in ("gpt2", "llama"):
            raise TrainError(f'{source.path}: the tokenizer "{kind}" is not supported (`tokenizer.ggml.model`)')
        tokenizer = (byte_level_bpe if kind == "gpt2" else sentencepiece_bpe)(keys, source.path)
        texts = keys("tokenizer.ggml.tokens")
        template = keys("tokenizer.chat_template", None)
        ends = [keys(f"tokenizer.ggml.{name}_token_id", None) for name in ("eot", "eos")]
        bos = keys("tokenizer.ggml.bos_token_id", None)
        adds = keys(
            "tokenizer.ggml.add_bos_token", kind == "llama" or keys("tokenizer.ggml.pre", "") in WHOLE_WORDS[:3]
        )
        return cls(
            tokenizer,
            source.config.vocab_size,
            bos=bos if adds else None,
            end_ids=ends_of(tokenizer, template, ends),
            chat_template=template,
            texts=texts,
            bos_text=texts[bos] if bos is not None else "",
        )

    @property
    def end(self):
        return self.end_ids[0]

    def __len__(self):
        return self.rows

    def encode(self, text, special=False):
        """Ids of a text, without a token for its beginning. Texts of special tokens are plain text unless `special`."""
        self.tokenizer.encode_special_tokens = not special
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def encode_batch(self, texts):
        self.tokenizer.encode_special_tokens = True
        return [encoding.ids for encoding in self.tokenizer.encode_batch(list(texts), add_special_tokens=False)]

    def decode(self, ids):
        return self.tokenizer.decode(list(ids), skip_special_tokens=False)

    def token(self, id):
        return self.texts[id]

    def id(self, token):
        return self.tokenizer.token_to_id(token)

    def chat(self, messages, generation_prompt=True, **values):
        """The base's chat template, rendered; `encode(…, special=True)` makes ids of it."""
        if self.chat_template is None:
            raise TrainError("the base has no chat template")
        template = self._template
        return template.render(
            messages=messages,
            add_generation_prompt=generation_prompt,
            bos_token="" if self.bos is None else self.bos_text,
            eos_token=self.texts[self.end_ids[0]],
            **values,
        )

    @cached_property
    def _template(self):
        from jinja2.exceptions import TemplateError
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        def fail(message):
            raise TemplateError(message)

        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
        )
        environment.globals["raise_exception"] = fail
        environment.globals["strftime_now"] = lambda form: __import__("datetime").datetime.now().strftime(form)
        environment.filters["tojson"] = lambda value, **options: json.dumps(value, ensure_ascii=False, **options)
        return environment.from_string(self.chat_template)

    def __getstate__(self):
        return {key: value for key, value in self.__dict__.items() if key != "_template"}


def ends_of(tokenizer, template, named):
    """Ids that end an answer: the chat template's end of a turn before those that the files name."""
    in_template = [tokenizer.token_to_id(text) for text in END_TEXTS if template and text in template]
    return [id for id in [*in_template, *named] if id is not None]


def byte_level_bpe(keys, where):
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

    pre = keys("tokenizer.ggml.pre", None)
    byte_level = lambda use_regex: pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=use_regex)
    if pre in SPLITS:
        steps = [pre_tokenizers.Split(Regex(SPLITS[pre]), "isolated"), byte_level(False)]
    elif pre in DIGITS:
        steps = [pre_tokenizers.Digits(individual_digits=True), byte_level(True)]
    elif pre in GPT2:
        steps = [byte_level(True)]
    else:
        known = ", ".join([*SPLITS, *DIGITS, *GPT2])
        raise TrainError(
            f'{where}: the pre-tokenizer "{pre}" (`tokenizer.ggml.pre`) is not known; known are {known}. '
            "Give the base as a Hugging Face folder instead"
        )
    texts = keys("tokenizer.ggml.tokens")
    # a merge's first token may begin with a space's letter only, never hold a space itself
    merges = [tuple(merge.split(" ", 1)) for merge in keys("tokenizer.ggml.merges")]
    vocabulary = {text: i for i, text in enumerate(texts)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, ignore_merges=pre in WHOLE_WORDS))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)
    tokenizer.decoder = decoders.ByteLevel()
    add_tokens(tokenizer, keys, texts)
    return tokenizer


def sentencepiece_bpe(keys, where):
    from tokenizers import Tokenizer, decoders, models, normalizers

    texts, scores = keys("tokenizer.ggml.tokens"), keys("tokenizer.ggml.scores")
    kinds = keys("tokenizer.ggml.token_type")
    vocabulary = {text: i for i, text in enumerate(texts)}
    mergeable = {text for text, kind in zip(texts, kinds) if kind in (NORMAL, USER_DEFINED, UNUSED)}
    merges = []
    for text, kind, score in zip(texts, kinds, scores):
        if kind != NORMAL:
            continue
        parts = [(text[:i], text[i:]) for i in range(1, len(text)) if text[:i] in mergeable and text[i:] in mergeable]
        merges += [(score, vocabulary[text], pair) for pair in parts]
    merges.sort(key=lambda merge: (-merge[0], merge[1]))
    unknown = next((text for text, kind in zip(texts, kinds) if kind == UNKNOWN), None)
    model = models.BPE(
        vocab=vocabulary,
        merges=[pair for _, _, pair in merges],
        unk_token=unknown,
        fuse_unk=True,
        byte_fallback=any(kind == BYTE for kind in kinds),
    )
    tokenizer = Tokenizer(model)
    prefix = [normalizers.Prepend("\u2581")] if keys("tokenizer.ggml.add_space_prefix", True) else []
    tokenizer.normalizer = normalizers.Sequence([*prefix, normalizers.Replace(" ", "\u2581")])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()])
    add_tokens(tokenizer, keys, texts)
    return tokenizer


def add_tokens(tokenizer, keys, texts):
    from tokenizers import AddedToken

    kinds = keys("tokenizer.ggml.token_type", [NORMAL] * len(texts))
    special = [AddedToken(t, special=True, normalized=False) for t, kind in zip(texts, kinds) if kind == CONTROL]
    tokenizer.add_special_tokens(special)
    plain = [t for t, kind in zip(texts, kinds) if kind == USER_DEFINED and not re.fullmatch(r"\u2581+", t)]
    tokenizer.add_tokens([AddedToken(t, special=False, normalized=False) for t in plain])
