"""The attention of centres over tokens against loops that compute every key and value, and by hand."""

import math
from itertools import product

import pytest
import torch
from torch.func import functional_call

from insightface_cakd.distill.urfm.fields import LocalFields
from insightface_cakd.recipe.urfm import URFMSpec
from tests.distill.urfm import oracle


def local(width=12, student=5, teacher=7, **values):
    torch.manual_seed(0)
    spec = URFMSpec(student="tap", **{"width": width, "centres": 4, "heads": 3, **values})
    return LocalFields(spec, student, teacher).double()


def arrays(module, side):
    """Return what the oracle needs, by its own names."""
    part = {name: held["shared" if "shared" in held else side] for name, held in module.parts.items()}
    query, attention = part["query"], part["attention"]
    tensors = {
        "input": part["input"].weight,
        "centres": query.centres,
        "query": query.weight.weight,
        "key": part["key"].weight,
        "value": part["value"].weight,
        "qkv": attention.qkv.weight,
        "qkv_bias": attention.qkv.bias,
        "out": attention.out.weight,
        "out_bias": attention.out.bias,
    }
    if module.spec.bias != "none":
        tensors["positions"] = query.positions
    return {name: tensor.detach().numpy() for name, tensor in tensors.items()}


@pytest.mark.parametrize("bias", ["query", "key", "none"])
@pytest.mark.parametrize("normalise", ["images", "none"])
def test_maps_and_fields_equal_their_oracle(bias, normalise):
    for side, (heads, shared), each_image in product(
        ["student", "teacher"], [(1, "all"), (4, "centres"), (2, "none")], [False, True]
    ):
        equals_the_oracle(side, bias, normalise, heads, shared, each_image)


def equals_the_oracle(side, bias, normalise, heads, shared, each_image):
    module = local(bias=bias, normalise=normalise, mapping_heads=heads, shared=shared)
    torch.nn.init.normal_(module.parts["attention"]["shared" if shared != "none" else side].qkv.bias)
    tokens = torch.randn(2, 6, 5 if side == "student" else 7, dtype=torch.float64)
    count = 4 if bias == "query" else 6
    buckets = torch.randint(0, 4, (2, count)) if each_image else torch.randint(0, 4, (1, count)).expand(2, count)
    found = module(tokens, side, buckets if each_image else buckets[0])
    for image in range(2):
        expected = oracle.fields(
            tokens[image].numpy(), arrays(module, side), buckets[image].tolist(), bias, heads, 3, normalise != "none"
        )
        for ours, theirs in zip(found, expected, strict=True):
            torch.testing.assert_close(ours[image], torch.from_numpy(theirs), rtol=1e-10, atol=1e-12)
    assert [tuple(x.shape) for x in found] == [(2, heads, 4, 6), (2, 3, 4, 4), (2, 4, 12)]
    for rows in found[:2]:
        torch.testing.assert_close(rows.sum(-1), torch.ones_like(rows[..., 0]))


def by_hand(bias):
    """L = 2, N = 3, d = 2, all weights 1 on the diagonal; centres (1, 0) and (0, 1)."""
    module = local(width=2, student=2, teacher=2, centres=2, heads=1, bias=bias, normalise="none")
    eye = torch.eye(2, dtype=torch.float64)
    values = {name: eye.repeat(len(weight) // 2, 1) for name, weight in module.named_parameters() if weight.ndim == 2}
    values |= {name: torch.zeros_like(weight) for name, weight in module.named_parameters() if weight.ndim == 1}
    unit = math.sqrt(2) * math.log(2)
    tokens = unit * torch.tensor([[[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]], dtype=torch.float64)
    return module, values, tokens, unit


def test_by_hand_without_positions():
    # e_1 = (ln 2, 0, 0), e_2 = (0, ln 2, 0): the scale sqrt(2) cancels.
    module, values, tokens, unit = by_hand("none")
    looks, attention, fields = functional_call(module, values, (tokens, "student", None))
    torch.testing.assert_close(looks[0, 0], torch.tensor([[2.0, 1, 1], [1, 2, 1]], dtype=torch.float64) / 4)
    # h_1 = unit (1/2, 1/4), h_2 = unit (1/4, 1/2): h_1 h_1 = 5/16 unit^2, h_1 h_2 = 4/16 unit^2.
    own = 1 / (1 + math.exp(-(unit**2) / 16 / math.sqrt(2)))
    torch.testing.assert_close(attention[0, 0], torch.tensor([[own, 1 - own], [1 - own, own]], dtype=torch.float64))
    first = [unit * (own / 2 + (1 - own) / 4), unit * (own / 4 + (1 - own) / 2)]
    torch.testing.assert_close(fields[0], torch.tensor([first, first[::-1]], dtype=torch.float64))


def test_by_hand_with_the_bias_on_the_key_side():
    # The first token's key gains (0, unit): e_1 = (ln 2, 0, 0), e_2 = (ln 2, ln 2, 0).
    module, values, tokens, unit = by_hand("key")
    positions = torch.zeros(5, 2, dtype=torch.float64)
    positions[3, 1] = unit
    values["parts.query.shared.positions"] = positions
    looks = functional_call(module, values, (tokens, "student", torch.tensor([3, 0, 4]))).looks[0, 0]
    torch.testing.assert_close(looks, torch.tensor([[2 / 4, 1 / 4, 1 / 4], [2 / 5, 2 / 5, 1 / 5]], dtype=torch.float64))


def test_by_hand_with_the_bias_on_the_query_side():
    # The first centre becomes (1, 1): e_1 = (ln 2, ln 2, 0), e_2 = (0, ln 2, 0).
    torch.manual_seed(0)
    module, values, tokens, _ = by_hand("none")
    module.spec = module.spec.model_copy(update={"bias": "query"})
    module.parts["query"]["shared"].positions = torch.nn.Parameter(torch.tensor([[0.0, 0.0], [0.0, 1.0]]).double())
    looks = functional_call(module, values, (tokens, "student", torch.tensor([1, 0]))).looks[0, 0]
    torch.testing.assert_close(looks, torch.tensor([[2 / 5, 2 / 5, 1 / 5], [1 / 4, 2 / 4, 1 / 4]], dtype=torch.float64))


def test_on_the_query_side_the_order_of_the_tokens_does_not_matter():
    module, tokens = local(bias="query"), torch.randn(2, 9, 5, dtype=torch.float64)
    order, buckets = torch.randperm(9), torch.tensor([0, 1, 2, 3])
    ours, permuted = (module(t, "student", buckets) for t in (tokens, tokens[:, order]))
    torch.testing.assert_close(permuted.values, ours.values)
    torch.testing.assert_close(permuted.attention, ours.attention)
    torch.testing.assert_close(permuted.looks, ours.looks[..., order])


def test_on_the_key_side_it_does_not_where_positions_move_along_and_does_where_they_stay():
    module, tokens = local(bias="key"), torch.randn(2, 9, 5, dtype=torch.float64)
    order, buckets = torch.randperm(9), torch.randint(0, 4, (9,))
    ours = module(tokens, "student", buckets)
    along, stayed = (module(tokens[:, order], "student", b) for b in (buckets[order], buckets))
    torch.testing.assert_close(along.values, ours.values)
    torch.testing.assert_close(along.looks, ours.looks[..., order])
    assert (stayed.values - ours.values).abs().max() > 1e-2


@pytest.mark.parametrize(("shared", "own"), [("all", {"input"}), ("centres", {"input", "key", "value"})])
def test_what_the_sides_share_is_one_parameter(shared, own):
    module = local(shared=shared)
    names = list(module.state_dict())
    assert {name.split(".")[1] for name in names if ".student." in name or ".teacher." in name} == own
    assert len(names) == len(dict(module.named_parameters()))
    everything = local(shared="none")
    assert not [name for name in everything.state_dict() if ".shared." in name]


def test_the_two_losses_have_something_to_say_from_the_first_step_on():
    torch.manual_seed(0)
    module = LocalFields(URFMSpec(student="tap"), 512, 384)
    ours = module(torch.randn(4, 49, 512), "student", torch.arange(49) % 4)
    theirs = module(torch.randn(4, 144, 384), "teacher", torch.arange(144) % 4)
    assert (ours.attention - theirs.attention).square().mean() > 2e-4
    assert (ours.values - theirs.values).square().mean() > 1
    assert theirs.values.var(dim=1).mean() > 0.05


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equal_tokens_of_any_size_stay_finite(dtype):
    module = local().to(dtype)
    for value in (0.0, 1e-12, 1e4):
        tokens = torch.full((2, 9, 5), value, dtype=dtype, requires_grad=True)
        out = module(tokens, "student", torch.arange(9) % 4)
        (out.values.sum() + out.attention.square().sum()).backward()
        assert torch.isfinite(out.values).all()
        assert torch.isfinite(tokens.grad).all()
