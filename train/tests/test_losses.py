"""Losses against plain formulas."""

import torch
import torch.nn.functional as F
from helpers import tiny_recipe, write_base

from armt_train.base import load_base
from armt_train.loop.recipe import parse_recipe
from armt_train.loop.run import Options, run
from armt_train.losses import addressing, vocabulary
from armt_train.losses.slots import ENOUGH, Slots
from armt_train.model import Armt, ArmtConfig
from armt_train.model import memory as associative


def test_chunks_give_the_losses_and_gradients_of_the_whole(monkeypatch):
    torch.manual_seed(0)
    rows, head, targets = torch.randn(37, 8, requires_grad=True), torch.randn(50, 8), torch.randint(0, 50, (37,))
    results = []
    for kept, logits in ((10**9, 10**9), (0, 500)):
        monkeypatch.setattr(vocabulary, "LOGITS_KEPT", kept)
        monkeypatch.setattr(vocabulary, "LOGITS", logits)
        loss, right = vocabulary.in_chunks(lambda r, t: vocabulary.token_loss(r, t, head), 50, rows, targets)
        weights = torch.arange(37.0)
        results.append((loss, right, *torch.autograd.grad((loss * weights).sum(), rows)))
    for whole, chunked in zip(*results):
        torch.testing.assert_close(whole, chunked)
    expected = F.cross_entropy(rows @ head.T, targets, reduction="none")
    torch.testing.assert_close(results[1][0], expected)


def plain_log_probabilities(maps, rows, embeddings):
    x = F.linear(rows, maps.maps.weight).unflatten(-1, (maps.parts, rows.shape[-1]))
    return (F.rms_norm(x, (rows.shape[-1],)) * maps.scale @ embeddings.T).log_softmax(-1)


def test_slots_of_facts_ask_one_memory_token_for_all_parts():
    torch.manual_seed(1)
    slots, rows, embeddings = Slots(8, 1, 2), torch.randn(3, 4, 8), torch.randn(50, 8)
    facts = torch.tensor([[[1, 2, 3], [4, 5, -1]], [[6, 7, 8], [-1, -1, -1]], [[-1, -1, -1], [-1, -1, -1]]])
    told = plain_log_probabilities(slots.facts_maps, rows, embeddings)
    expected = 0.0
    for g, parts in ((0, [1, 2, 3]), (0, [4, 5]), (1, [6, 7, 8])):
        by_token = torch.stack([sum(told[g, m, p, token] for p, token in enumerate(parts)) for m in range(4)])
        expected -= by_token.logsumexp(0).clamp_max(ENOUGH)
    torch.testing.assert_close(slots.facts(rows, embeddings, facts), torch.as_tensor(expected))


def test_slots_of_questions_and_text():
    torch.manual_seed(2)
    slots, embeddings = Slots(8, 2, 1, text_parts=3), torch.randn(50, 8)
    rows, keys, weight = torch.randn(2, 5, 8), torch.tensor([[1, 2], [3, -1]]), torch.rand(2, 5)
    told = plain_log_probabilities(slots.facts_maps, rows, embeddings)
    each = torch.stack([told[0, :, 0, 1] + told[0, :, 1, 2], told[1, :, 0, 3]])
    torch.testing.assert_close(slots.questions(rows, embeddings, keys, weight), -(each * weight).sum())
    rows, text = torch.randn(2, 4, 8), torch.randint(0, 50, (2, 12))
    told = plain_log_probabilities(slots.text_maps, rows, embeddings).reshape(2, 12, 50)
    expected = F.nll_loss(told.flatten(0, 1), text.flatten(), reduction="sum")
    torch.testing.assert_close(slots.text(rows, embeddings, text), expected)


def test_addressing_asks_for_the_segment_of_the_fact_and_no_other():
    torch.manual_seed(4)
    b, q, n, a, d = 2, 2, 3, 2, 6
    rows, written, weight = torch.randn(b, q, a, d), torch.rand(b, n, 6 * d), torch.rand(b, q, a)
    segment = torch.tensor([[2, -1], [0, 1]])
    keys = torch.tensor([[[7, -1], [8, 9]], [[5, 6], [7, -1]]])
    slots = torch.full((b, n, 2, 3), -1)
    slots[0, 0, 0] = slots[0, 2, 1] = torch.tensor([7, -1, 3])  # an older value of the first question's key
    slots[1, 1, 0] = torch.tensor([7, -1, 4])  # and another stream's fact of that key
    slots[1, 0, 0] = torch.tensor([5, 6, 2])
    counted, own = addressing.segments(segment, keys, slots)
    assert own.nonzero().tolist() == [[0, 0, 0, 2], [1, 0, 1, 0], [1, 1, 1, 1]]
    assert (~counted).nonzero().tolist() == [[0, 0, 0, 0], [0, 0, 1, 1], [1, 1, 0, 0], [1, 1, 0, 2]]
    weight[0, 1] = 0  # a question without a segment
    expected = 0.0
    for i, j, others in ((0, 0, [(0, 1), (1, 0), (1, 2)]), (1, 0, [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2)]),
                         (1, 1, [(0, 1), (1, 0), (1, 2)])):  # fmt: skip
        for k in range(a):
            features = associative.dpfp(rows[i, j, k], True)
            right = features @ written[i, segment[i, j]]
            total = right + sum(features @ written[c, s] for c, s in others)
            size = written[i, segment[i, j]].norm()
            each = ((total + addressing.LITTLE) / (right + addressing.LEAST)).log()
            expected += weight[i, j, k] * each * size / (size + addressing.WRITES)
    torch.testing.assert_close(addressing.loss(rows, written, weight, counted, own, True), expected)


def test_addressing_has_no_way_out_in_finding_nothing_and_asks_for_nothing_where_nothing_is_written():
    torch.manual_seed(6)
    rows, weight = torch.randn(1, 1, 1, 6), torch.ones(1, 1, 1)
    features = associative.dpfp(rows[0, 0, 0], True)
    nowhere = (features == 0).float()
    segment, keys = torch.tensor([[0]]), torch.tensor([[[1]]])
    counted, own = addressing.segments(segment, keys, torch.full((1, 2, 1, 2), -1))

    def loss(right, other):
        return addressing.loss(rows, torch.stack([right, other])[None], weight, counted, own, True).item()

    assert abs(loss(features, nowhere)) < 0.01
    assert loss(nowhere, nowhere) > 6
    assert loss(features, features) > 0.6
    assert loss(features * 1e-6, features * 1e-6) < 1e-3


def test_addresses_are_what_the_layers_after_the_tapped_one_write_under_and_ask_for(tmp_path):
    torch.manual_seed(5)
    base = load_base(write_base(tmp_path / "base"), torch.float32)
    model = Armt(base.model, ArmtConfig(segment_size=8, n_mem=4, d_mem=6))
    last, ids, taps = model.layers - 1, torch.randint(0, 256, (2, 1, 8)), [{}, {}, {}]
    with torch.no_grad():
        _, state = model.segment(ids, model.empty(2), tap=taps[0], tap_layer=last)
        model.segment(ids, model.empty(2), tap=taps[1], tap_layer=last - 1)
        model.segment(ids, state, write=False, tap=taps[2], tap_layer=last - 1)
        cell, rows = model.cells[last], taps[0]["after"][:, 0, -4:]
        keys = associative.dpfp(cell.mem_k(rows), True)
        expected = (cell.mem_b(rows).sigmoid() * keys).sum(1)
        asking = cell.mem_q(taps[2]["after"])
    assert "addresses" not in taps[0] and len(taps[1]["addresses"]) == len(taps[2]["addresses"]) == 1
    torch.testing.assert_close(taps[1]["addresses"][0], expected)
    torch.testing.assert_close(taps[2]["addresses"][0], asking)


def test_divergence_is_zero_for_the_base_itself():
    torch.manual_seed(3)
    rows, other, head = torch.randn(6, 8), torch.randn(6, 8), torch.randn(50, 8)
    assert vocabulary.divergence(rows, rows, head).abs().max() < 1e-6
    p, q = (other @ head.T).softmax(-1), (rows @ head.T).softmax(-1)
    torch.testing.assert_close(vocabulary.divergence(rows, other, head), (p * (p / q).log()).sum(-1))


def test_checkpointing_trains_the_same_weights(tmp_path, random_data):
    base, results = write_base(tmp_path / "base"), []
    for checkpointing in (False, True):
        values = tiny_recipe(training__checkpointing=checkpointing)
        out = tmp_path / str(checkpointing)
        run(parse_recipe(values), values, Options(out=out, base=base, device="cpu", workers=0))
        results.append(torch.load(out / "state-0.pt", weights_only=False)["weights"])
    for plain, checkpointed in zip(*results):
        torch.testing.assert_close(plain, checkpointed)
