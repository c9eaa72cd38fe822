"""Times the ARMT authors' own PyTorch code on a GPU: reading a text with LLaMA-3.2-1B's shape and random weights, to be run beside `cuda-check speed`.

Peers, each from a checkout that is given as a folder and imported from there:
  sequential  their ARMT: --armt, of github.com/RodkinIvan/associative-recurrent-memory-transformer (arXiv 2407.04841)
  diagonal    their diagonal executor: --diagonal, of github.com/svtdanny/diagonal-batching (arXiv 2506.05229), on the same model
  full        full attention of the same base, by PyTorch's scaled_dot_product_attention: needs neither folder

Time is from token ids on the host to the logits of the last token on the host, the device synchronized before and after. Warm-ups are apart. What is changed in the authors' code at
run time, none of it to its disadvantage:
  - no output head but for the last token, and no hidden states of all layers are kept: at 131,072 tokens they would not fit the card
  - a mask that only says "causal" is not made, so that SDPA takes its causal kernel (as with the version of transformers that they used)
  - layers return what this version of transformers expects
  - where CUTLASS is not installed, its grouped product is torch.bmm over the stacked weights
  - modules that it imports and does not use here, such as wandb, need not be there
Needs torch and transformers, no network.
"""

import argparse
import copy
import gc
import hashlib
import importlib
import importlib.util
import json
import os
import sys
import time
import types
import zlib
from pathlib import Path

import torch
import torch.nn.functional as F
import transformers
from transformers.models.llama import modeling_llama

PEERS = ("sequential", "diagonal", "full")
TYPES = {"bf16": torch.bfloat16, "f16": torch.float16, "f32": torch.float32}
SLOW = 5.0  # seconds of a read beyond which 2 runs are enough


def options():
    def numbers(text):
        return [int(n) for n in text.split(",")]

    def peers(text):
        names = text.split(",")
        for name in names:
            if name not in PEERS:
                raise argparse.ArgumentTypeError(f"no such peer: {name}; there are {', '.join(PEERS)}")
        return names

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("json", type=Path, help="file to write the results to")
    parser.add_argument("--armt", type=Path, help="checkout with modeling_amt/language_modeling.py")
    parser.add_argument("--diagonal", type=Path, help="checkout with fast_executor.py")
    parser.add_argument("--peers", type=peers, default=list(PEERS), help="out of %(default)s, separated by commas")
    parser.add_argument("--tokens", type=int, default=131072)
    parser.add_argument("--segments", type=numbers, default=[1024, 512, 256, 4096], help="segment sizes, separated by commas (%(default)s)")
    parser.add_argument("--runs", type=int, default=5, help=f"timed reads (%(default)s); 2 where one takes more than {SLOW:.0f} s")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--type", choices=TYPES, default="bf16")
    parser.add_argument("--sdpa", choices=("auto", "flash", "cudnn"), default="auto", help="kernels that attention may take on a GPU; auto is PyTorch's choice of those that make no score matrix")
    parser.add_argument("--gemm", choices=("auto", "bmm", "cutlass"), default="auto", help="the diagonal's grouped product: auto is CUTLASS where its Python package is installed")
    parser.add_argument("--layers", type=int, default=16)
    parser.add_argument("--hidden", type=int, default=2048)
    parser.add_argument("--heads", type=int, default=32)
    parser.add_argument("--kv-heads", type=int, default=8)
    parser.add_argument("--head-size", type=int, default=64)
    parser.add_argument("--ffn", type=int, default=8192)
    parser.add_argument("--vocab", type=int, default=128256)
    parser.add_argument("--mem-tokens", type=int, default=128)
    parser.add_argument("--d-mem", type=int, default=64)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tolerance-f32", type=float, default=1e-3,
                        help="how far the diagonal's last logits may be from the sequential ones with F32 weights: root of the sum of squares over that of the sequential ones (%(default)s)")
    parser.add_argument("--tolerance", type=float, default=3.0,
                        help="the same with weights of --type, for each segment size: in times what the sequential ones are off from those in F32, that is by roundings alone (%(default)s)")
    o = parser.parse_args()
    needs = {"armt": ("sequential", "diagonal"), "diagonal": ("diagonal",)}
    files = {"armt": "modeling_amt/language_modeling.py", "diagonal": "fast_executor.py"}
    for name, of in needs.items():
        folder = getattr(o, name)
        if not any(peer in o.peers for peer in of):
            continue
        if folder is None or not (folder / files[name]).is_file():
            parser.error(f"--{name}: {'not given' if folder is None else f'{folder / files[name]} does not exist'}; {' and '.join(of)} need this checkout")
    for n in o.segments:
        if "diagonal" in o.peers and o.tokens % n != 0:
            parser.error(f"--segments {n}: the diagonal executor stacks segments, so --tokens ({o.tokens}) must be a multiple")
    if o.runs < 1:
        parser.error("--runs: at least 1")
    return o


# The authors' code


class Missing(types.ModuleType):
    """Stands in for a module that is imported and not used here: whatever is called in it fails with its name."""

    __path__ = []

    def __getattr__(self, attribute):
        if attribute.startswith("__"):
            raise AttributeError(attribute)

        def missing(*_args, **_kwargs):
            raise RuntimeError(f"{self.__name__}.{attribute} was called, and {self.__name__} is not installed")

        return missing


def import_from(name, own):
    """Imports `name`; modules that are not installed, other than those of `own` packages, get a stand-in."""
    while True:
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or error.name in sys.modules or error.name.split(".")[0] in own:
                raise
            print(f"{error.name} is not installed: a stand-in", flush=True)
            sys.modules[error.name] = Missing(error.name)


class TupleLayer(modeling_llama.LlamaDecoderLayer):
    """A layer that returns a tuple, as the authors' wrapper takes it, in each version of transformers."""

    plain = False  # whether this version returns, and expects, the hidden states alone

    def forward(self, *args, **kwargs):
        out = super().forward(*args, **kwargs)
        if isinstance(out, tuple):
            return out
        TupleLayer.plain = True
        return (out,)


class Base(modeling_llama.LlamaForCausalLM):
    """The base model, without what the authors' cell asks for and this measurement does not keep."""

    def forward(self, *args, output_hidden_states=None, prev_attn_mask=None, **kwargs):
        return super().forward(*args, **kwargs)


def load_armt(folder):
    sys.path.append(str(folder.resolve()))
    module = import_from("modeling_amt.language_modeling", {"modeling_amt"})
    forward = module.AssociativeLayerWrapper.forward

    def unwrapped(self, hidden_states, **kwargs):
        out = forward(self, hidden_states, **kwargs)
        return out[0] if TupleLayer.plain else out

    module.AssociativeLayerWrapper.forward = unwrapped
    return module


def has_cutlass():
    try:
        return importlib.util.find_spec("cutlass.emit") is not None and importlib.util.find_spec("cutlass.op") is not None
    except (ImportError, ValueError):
        return False


def load_diagonal(folder, gemm):
    # the files import one another as this package
    package = types.ModuleType("grouped_batching")
    package.__path__ = [str(folder.resolve())]
    sys.modules["grouped_batching"] = package
    if gemm == "bmm":
        name = "grouped_batching.cutlass_emit_pytorch_mocked"  # made of CUTLASS's own parts
        sys.modules[name] = Missing(name)
    own = {"grouped_batching", "modeling_amt"}
    return import_from("grouped_batching.llama1b_grouping", own), import_from("grouped_batching.fast_executor", own)


def bmm_forward(context, weights, bias=None):
    """In place of get_grouped_gemm_sliced_forward: weights [in, out] of all layers, of which the context says which are at work; rows [layers at work, tokens, in]."""
    stacked = torch.stack(weights)

    def forward(rows):
        at_work = slice(None) if context.is_full else slice(context.start_idx, context.end_idx)
        out = torch.bmm(rows, stacked[at_work])
        return out if bias is None else out + bias[at_work]

    return forward


# Models


def fill(model, seed, rounded):
    """Random numbers at the scales of cuda-check's random models, rounded to `rounded`, so that they are the same in F32; a tensor of the base
    has the same ones in each peer."""

    def normal(tensor, deviation, mean=0.0):
        generator = torch.Generator(device=tensor.device).manual_seed((seed << 32) + zlib.crc32(name.removeprefix("memory_cell.model.").replace(".layer.", ".").encode()))
        tensor.copy_(torch.empty(tensor.shape, dtype=torch.float32, device=tensor.device).normal_(mean, deviation, generator=generator).to(rounded))

    for name, weight in model.named_parameters():
        parts = name.split(".")
        if parts[-1] == "memory":
            normal(weight, 0.5)
        elif "embed_tokens" in parts:
            normal(weight, 2 * weight.shape[1] ** -0.5)
        elif parts[-1] == "bias":  # of W_mb
            normal(weight, 0.5, -4.0)
        elif weight.dim() == 1:
            normal(weight, 0.1, 1.0)
        else:
            normal(weight, (0.5 if parts[-2].startswith("W_m") else 1.0) * weight.shape[1] ** -0.5)


def make_base(o, kind):
    sizes = dict(num_hidden_layers=o.layers, hidden_size=o.hidden, num_attention_heads=o.heads, num_key_value_heads=o.kv_heads, head_dim=o.head_size, intermediate_size=o.ffn,
                 vocab_size=o.vocab, max_position_embeddings=max(o.tokens, 131072), rms_norm_eps=1e-5, tie_word_embeddings=True)
    config = transformers.LlamaConfig(**sizes, attn_implementation="sdpa")
    if getattr(config, "rope_parameters", None):
        config.rope_parameters["rope_theta"] = 500000.0
    else:
        config.rope_theta = 500000.0
    with torch.device(o.device):
        model = kind(config).eval()
    if model.config._attn_implementation != "sdpa":
        raise RuntimeError(f"attention is {model.config._attn_implementation}, not sdpa")
    if model.dtype != torch.get_default_dtype() or next(model.parameters()).device.type != torch.device(o.device).type:
        raise RuntimeError(f"the base is {model.dtype} on {next(model.parameters()).device}, not {torch.get_default_dtype()} on {o.device}")
    return model


def device_now(o):
    if o.device.startswith("cuda"):
        torch.cuda.synchronize()


class Sequential:
    """The authors' cell, one segment after another, as their AssociativeRecurrentWrapper reads a prompt."""

    def __init__(self, o, armt):
        base = make_base(o, Base)
        for layer in base.model.layers:
            layer.__class__ = TupleLayer
        with torch.device(o.device):
            cell = armt.AssociativeMemoryCell(base_model=base, num_mem_tokens=o.mem_tokens, d_mem=o.d_mem, wrap_pos=False, layers_attr="model.layers")
        self.model = armt.AssociativeRecurrentWrapper(cell, segment_size=o.segments[0], k2=-1).eval()
        fill(self.model, o.seed, TYPES[o.type])
        self.head = base.get_input_embeddings().weight
        base.lm_head = torch.nn.Identity()

    def read(self, ids, segment, forget=False):
        """Logits [vocab] of the last token; `forget` empties the memory before the last segment."""
        self.model.rmt_config["segment_size"] = segment
        cell = self.model.memory_cell
        cell.zero_mem()
        segments = self.model.segment(input_ids=ids)
        for i, part in enumerate(segments):
            if forget and i == len(segments) - 1:
                cell.zero_mem()
            out = cell(**part, use_cache=False, zero_mem=False)
        cell.zero_mem()
        return F.linear(out.logits[0, -1], self.head)


class Diagonal:
    """The authors' FastGroupedArmtExecutor over the weights of a Sequential."""

    def __init__(self, o, sequential, grouping, executor, gemm):
        model = copy.deepcopy(sequential.model)
        context = executor.GroupedLayerContext()
        layers = model.memory_cell.model.model.layers
        how = {} if gemm == "cutlass" else {"grouped_fn": bmm_forward}
        grouped = grouping.make_grouped_sliced_layer_from_single_layer(context, copy.deepcopy(layers[0]), *grouping.get_grouped_states(model), device=o.device, **how)
        model, _ = grouping.make_grouped_model_from_naive(model, grouped)
        model.memory_cell.layers = None  # the layers one by one, now in the group
        self.model = model
        self.head = sequential.head
        self.executor = executor.FastGroupedArmtExecutor(model, grouped, context, o.layers)
        self.executor.eval()

    def read(self, ids, segment):
        self.model.rmt_config["segment_size"] = segment
        return F.linear(self.executor.forward(ids, skip_concat=True)[-1][-1], self.head)


class Full:
    """Full attention; leaves a K/V cache to go on from."""

    def __init__(self, o):
        self.model = make_base(o, modeling_llama.LlamaForCausalLM)
        fill(self.model, o.seed, TYPES[o.type])

    def read(self, ids, _segment):
        return self.model(input_ids=ids, use_cache=True, logits_to_keep=1).logits[0, -1]


# Measuring


def attention_kernels(o, math):
    """On a GPU no kernel that makes a score matrix, but for the check in F32, which has no other."""
    if o.device.startswith("cuda"):
        torch.backends.cuda.enable_math_sdp(math)
        torch.backends.cuda.enable_flash_sdp(o.sdpa in ("auto", "flash"))
        torch.backends.cuda.enable_mem_efficient_sdp(o.sdpa == "auto")
        torch.backends.cuda.enable_cudnn_sdp(o.sdpa in ("auto", "cudnn") and not math)


def release(o):
    gc.collect()
    if o.device.startswith("cuda"):
        torch.cuda.empty_cache()


def difference(a, b):
    return (torch.linalg.vector_norm(a.double() - b.double()) / torch.linalg.vector_norm(b.double())).item()


def agree(what, segment, ids, logits, expected, limit, **more):
    off = difference(logits, expected)
    ok = off <= limit  # not so for NaN
    print(f"check {what}, {ids.shape[1] // segment} segments of {segment}: last logits off the sequential ones by {off:.2e} of {limit:.2e}  {'ok' if ok else 'WRONG'}", flush=True)
    return {"what": what, "segment": segment, "tokens": ids.shape[1], "difference": off, "limit": limit, **more, "ok": ok}


def blob(path):
    """The file's name in Git: tells which version of it ran."""
    data = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def write(path, result):
    """As cuda-check does, a run in a line."""
    head = json.dumps({key: value for key, value in result.items() if key != "runs"}, indent=1)
    runs = ",\n".join(json.dumps(run) for run in result["runs"])
    temporary = path.with_name(path.name + ".tmp")
    with open(temporary, "w", encoding="utf-8") as file:
        file.write(f'{head[:-2]},\n "runs": [\n{runs}\n ]\n}}\n')
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def main():
    o = options()
    torch.set_grad_enabled(False)
    on_gpu = o.device.startswith("cuda")
    if on_gpu and not torch.cuda.is_available():
        raise SystemExit(f"--device {o.device}: PyTorch {torch.__version__} sees no GPU")
    # None: causal, and SDPA is told so
    modeling_llama.create_causal_mask = lambda *_args, **_kwargs: None
    gemm = o.gemm if o.gemm != "auto" else "cutlass" if has_cutlass() else "bmm"
    armt = load_armt(o.armt) if o.armt is not None and {"sequential", "diagonal"} & set(o.peers) else None
    grouping, executor = load_diagonal(o.diagonal, gemm) if "diagonal" in o.peers else (None, None)
    ids = torch.randint(o.vocab, (1, o.tokens), generator=torch.Generator().manual_seed(o.seed))

    result = {"device": torch.cuda.get_device_name(o.device) if on_gpu else "CPU", "unit": "seconds", "torch": torch.__version__, "transformers": transformers.__version__,
              "sdpa": o.sdpa, "sources": {}, "checks": [], "failed": [], "runs": []}
    if armt is not None:
        result["sources"]["modeling_amt/language_modeling.py"] = blob(o.armt / "modeling_amt/language_modeling.py")
    if executor is not None:
        result["sources"]["fast_executor.py"] = blob(o.diagonal / "fast_executor.py")
        result["gemm"] = "CUTLASS" if gemm == "cutlass" else "torch.bmm"

    def checked(check):
        result["checks"].append(check)
        write(o.json, result)
        if not check["ok"]:
            raise SystemExit(f"{check['what']}, segment {check['segment']}: the peers do not compute the same, nothing was timed")

    def text(n_segments, segment):
        return ids.repeat(1, -(-n_segments * segment // o.tokens))[:, :n_segments * segment].to(o.device)

    def measure(what, peer, segment, warm_up):
        """A short read, one that is not timed unless it is slow, then those that count."""
        def read(tokens):
            device_now(o)
            start = time.perf_counter()
            peer.read(tokens.to(o.device), segment).float().cpu()
            device_now(o)
            return time.perf_counter() - start

        try:
            release(o)
            read(ids[:, :min(warm_up, o.tokens)])
            before = torch.cuda.memory_allocated() if on_gpu else 0
            if on_gpu:
                torch.cuda.reset_peak_memory_stats()
            n_runs = min(o.runs, 2) if read(ids) > SLOW else o.runs
            seconds = sorted(read(ids) for _ in range(n_runs))
        except RuntimeError as error:  # out of memory is one as well
            print(f"{what}: {error}", flush=True)
            result["failed"].append({"what": what, "error": str(error)[:400]})
            write(o.json, result)
            return
        run = {"what": what, "type": o.type, "layers": o.layers, "hidden": o.hidden, "tokens": o.tokens, "median": round(seconds[len(seconds) // 2], 4), "least": round(seconds[0], 4),
               "most": round(seconds[-1], 4), "times": len(seconds)}
        if on_gpu:
            run["contextMiB"] = round((torch.cuda.max_memory_allocated() - before) / 2**20)
        print(f"{what:<50} {o.type} {o.layers} layers {o.tokens} tokens  {run['median']:.4f} s ({run['least']:.4f} .. {run['most']:.4f}) of {len(seconds)}, {run.get('contextMiB', 0)} MiB", flush=True)
        result["runs"].append(run)
        write(o.json, result)

    def make():
        sequential = Sequential(o, armt)
        return sequential, Diagonal(o, sequential, grouping, executor, gemm) if executor is not None else None

    if armt is not None:
        exact = {}
        if executor is not None or "full" in o.peers:
            torch.set_default_dtype(torch.float32)
            attention_kernels(o, math=True)
            sequential, diagonal = make()
            if "full" in o.peers:
                # the memory tokens come after a segment's text, so the first segment is the base alone
                segment = min(o.segments)
                tokens = text(1, segment)
                checked(agree("full attention, f32", segment, tokens, Full(o).read(tokens, segment), sequential.read(tokens, segment), o.tolerance_f32))
            for segment in o.segments if executor is not None else []:
                # the diagonal rises, is full for some steps, and falls
                tokens = text(o.layers + 3, segment)
                exact[segment] = sequential.read(tokens, segment)
                if segment == min(o.segments):
                    memory = difference(sequential.read(tokens, segment, forget=True), exact[segment])
                    if not memory > 10 * o.tolerance_f32:
                        raise SystemExit(f"the last logits hardly depend on the memory ({memory:.2e}), so comparing them says nothing of it")
                    checked(agree("diagonal, f32", segment, tokens, diagonal.read(tokens, segment), exact[segment], o.tolerance_f32, withoutMemory=memory))
            del sequential, diagonal
            release(o)
        torch.set_default_dtype(TYPES[o.type])
        attention_kernels(o, math=False)
        sequential, diagonal = make()
        for segment in exact:
            tokens = text(o.layers + 3, segment)
            expected = sequential.read(tokens, segment)
            rounding = difference(expected, exact[segment])
            checked(agree(f"diagonal, {o.type}", segment, tokens, diagonal.read(tokens, segment), expected, max(o.tolerance * rounding, o.tolerance_f32), sequentialFromF32=rounding))
        for segment in o.segments:
            # one after the other, so that what slows one down slows the other down too; the warm-up has all numbers of layers at work
            if "diagonal" in o.peers:
                measure(f"authors, segment {segment} diagonal", diagonal, segment, (o.layers + 8) * segment)
            if "sequential" in o.peers:
                measure(f"authors, segment {segment} sequential", sequential, segment, (o.layers + 8) * segment)
        del sequential, diagonal
        release(o)
    if "full" in o.peers:
        torch.set_default_dtype(TYPES[o.type])
        attention_kernels(o, math=False)
        full = Full(o)
        measure("PyTorch full attention (SDPA)", full, o.tokens, o.tokens // 16)
    write(o.json, result)
    print(f"written: {o.json}")
    if result["failed"]:
        raise SystemExit(f"{len(result['failed'])} of the peers failed")


if __name__ == "__main__":
    main()
