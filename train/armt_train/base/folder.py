"""A base model's weights out of a Hugging Face folder."""

import json
import re

import torch

from armt_train.base.families import family_of
from armt_train.errors import TrainError

# what models with a vision part put before the names of their language model
PREFIXES = re.compile(r"^(model\.language_model\.|language_model\.model\.|language_model\.)")


class FolderBase:
    def __init__(self, path):
        import transformers

        self.path = path
        if not (path / "config.json").is_file():
            raise TrainError(f"{path}: a Hugging Face folder has a config.json; for a GGUF file give the file itself")
        try:
            config = transformers.AutoConfig.from_pretrained(path)
        except (OSError, ValueError, KeyError) as error:
            raise TrainError(f"{path / 'config.json'}: {error}") from error
        config = getattr(config, "text_config", None) or config
        self.config, self.family = config, family_of(config.model_type, path / "config.json")
        self.architecture = self.family.architecture
        for name in ("attn_logit_softcapping", "final_logit_softcapping"):
            if getattr(config, name, None):
                raise TrainError(f"{path / 'config.json'}: `{name}` asks for what ARMT models don't compute")
        self.files = self._find_files()
        self.names = {self._canonical(name): (name, file) for name, file in self._list().items()}
        self.names.pop(None, None)

    def _find_files(self):
        for index in ("model.safetensors.index.json", "pytorch_model.bin.index.json"):
            if (self.path / index).is_file():
                names = json.loads((self.path / index).read_text())["weight_map"].values()
                return [self.path / name for name in sorted(set(names))]
        for name in ("model.safetensors", "pytorch_model.bin"):
            if (self.path / name).is_file():
                return [self.path / name]
        raise TrainError(f"{self.path}: it has neither model.safetensors nor pytorch_model.bin")

    def _list(self):
        names = {}
        self.loaded = {}
        for file in self.files:
            if file.suffix == ".safetensors":
                from safetensors import safe_open

                with safe_open(file, "pt") as opened:
                    names |= dict.fromkeys(opened.keys(), file)
            else:
                self.loaded[file] = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
                names |= dict.fromkeys(self.loaded[file], file)
        return names

    def _canonical(self, name):
        if name.startswith(("vision_tower.", "multi_modal_projector.", "model.vision_tower.", "model.multi_modal_")):
            return None
        if name.endswith("rotary_emb.inv_freq"):
            return None
        name = "lm_head.weight" if name.endswith("lm_head.weight") else PREFIXES.sub("model.", name)
        if name == "lm_head.weight" and self.config.tie_word_embeddings:
            return None
        return name

    def read(self, name):
        original, file = self.names[name]
        if file in self.loaded:
            return self.loaded[file][original]
        from safetensors import safe_open

        with safe_open(file, "pt") as opened:
            return opened.get_tensor(original)

    def state_dict(self, names, dtype):
        out = {}
        for name in names:
            source = name
            if name == "lm_head.weight" and name not in self.names:
                source = "model.embed_tokens.weight"
            if source not in self.names:
                raise TrainError(f'{self.path}: its weights have no tensor "{source}"')
            weight = self.read(source)
            out[name] = weight.float() if weight.dim() == 1 else weight.to(dtype)
        others = [name for name in self.names if name not in out]
        if others:
            raise TrainError(f'{self.path}: its tensor "{others[0]}" has no place in a {self.config.model_type} model')
        return out

    def rope_divisors(self):
        return None

    @property
    def embedding_dtype(self):
        return self.read("model.embed_tokens.weight").dtype
