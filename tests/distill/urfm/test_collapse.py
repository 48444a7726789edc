"""Left to themselves both sides agree on a constant; the default does not let them."""

import pytest
import torch
from torch import nn
from torch.nn.functional import gelu, layer_norm

from insightface_cakd.distill.urfm import URFM, TokenGrid, URFMSpec
from insightface_cakd.losses import LOSSES

pytestmark = pytest.mark.slow
IMAGES, BATCH, LATENT, STEPS, PROMPTS, WIDTH = 256, 64, 8, 200, 4, 24


class Prompted(nn.Module):
    """A frozen Transformer of two blocks, with prompts in each; gives all tokens of the last, and an embedding."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(5)
        self.blocks = [
            [torch.randn(WIDTH, WIDTH, generator=generator) / WIDTH**0.5 for _ in range(6)] for _ in range(2)
        ]
        self.head = torch.randn(WIDTH, 12, generator=generator)
        self.prompts = nn.ParameterList([nn.Parameter(0.1 * torch.randn(PROMPTS, WIDTH)) for _ in self.blocks])

    def forward(self, patches, plain=False):
        count, x = patches.shape[1], patches
        for prompts, (query, key, value, out, rise, fall) in zip(self.prompts, self.blocks, strict=True):
            x = x if plain else torch.cat([x[:, :count], prompts.expand(len(x), -1, -1)], dim=1)
            y = layer_norm(x, x.shape[-1:])
            x = x + ((y @ query) @ (y @ key).mT * WIDTH**-0.5).softmax(-1) @ (y @ value) @ out
            x = x + gelu(layer_norm(x, x.shape[-1:]) @ rise) @ fall
        return layer_norm(x, x.shape[-1:]), x[:, :count].mean(1) @ self.head


def world():
    """Return tokens of student and teacher, noisy views of one latent person, and the person's embedding."""
    generator = torch.Generator().manual_seed(0)
    people = torch.randn(IMAGES, LATENT, generator=generator)

    def view(width):
        mix = torch.randn(LATENT, 16 * width, generator=generator) / LATENT**0.5
        return torch.tanh(people @ mix).view(IMAGES, 16, width) + torch.randn(IMAGES, 16, width, generator=generator)

    return view(20), view(WIDTH), people @ torch.randn(LATENT, 12, generator=generator)


def spread(values):
    """Return the mean variance over the images of a batch."""
    return values.detach().var(dim=0).mean().item()


def train(stop, anchor, prompts=False, weight=1.0, **values):
    """Return the spread of the teacher's fields and attention at the first and the last step, and the last losses."""
    student, teacher, embedding = world()
    torch.manual_seed(1)
    spec = URFMSpec(student="tap", centres=9, width=32, heads=4, stop_gradient=stop, **values)
    grids = TokenGrid(4, 4), TokenGrid(4, 4, extra=PROMPTS if prompts else 0)
    urfm = URFM(spec, *grids, 20, WIDTH, 12 if anchor else None)
    network, prompted = nn.Linear(20, 20), Prompted()
    learnt = [*network.parameters(), *urfm.parameters(), *prompted.parameters()]
    optimiser = torch.optim.SGD(learnt, 0.1, momentum=0.9, weight_decay=5e-4)
    terms = {"attention": (100 * weight, "urfm_attention"), "fields": (weight, "urfm_feature")}
    terms |= {"anchor": (1.0, "urfm_anchor")} if anchor else {}
    seen = []
    for step in range(STEPS):
        rows = slice(BATCH * (step % 4), BATCH * (step % 4 + 1))
        taught, told = teacher[rows], embedding[rows]
        if prompts:
            # The anchor is the embedding without prompts: that with prompts may drift to where it is easily read.
            taught, told = prompted(taught)[0], prompted(taught, plain=True)[1]
        out = urfm(network(student[rows]), taught, embedding=told)
        raw = {key: LOSSES[name]()(out[f"student.{key}"], out[f"teacher.{key}"]) for key, (_, name) in terms.items()}
        seen.append((spread(out["teacher.fields"]), spread(out["teacher.attention"])))
        optimiser.zero_grad()
        sum(terms[key][0] * value for key, value in raw.items()).backward()
        optimiser.step()
    return seen[0], seen[-1], {key: value.item() for key, value in raw.items()}


@pytest.mark.parametrize("values", [{}, {"normalise": "none"}, {"shared": "none"}], ids=str)
def test_without_protection_the_fields_of_all_images_become_equal(values):
    (fields, attention), (fields_after, attention_after), raw = train("none", anchor=False, **values)
    assert fields_after < 0.01 * fields
    assert attention_after < 0.01 * attention
    assert raw["fields"] < 0.01, "and the losses call that a success"


@pytest.mark.parametrize(("bias", "left"), [("query", 0.2), ("key", 0.6)])
def test_a_stop_gradient_at_the_teachers_fields_is_no_protection_while_the_weights_are_shared(bias, left):
    (fields, _), (fields_after, _), _ = train("teacher", anchor=False, bias=bias)
    assert fields_after < left * fields


def test_an_anchor_is_no_protection_while_the_losses_reach_the_mapping():
    (fields, _), (fields_after, _), _ = train("none", anchor=True)
    assert fields_after < 0.2 * fields


def test_prompts_draw_all_attention_to_themselves_where_tokens_keep_what_all_images_share():
    with pytest.warns(UserWarning, match="nothing trains centres"):
        (fields, _), (fields_after, _), _ = train("mapping", anchor=False, prompts=True, normalise="tokens")
    assert fields_after < 0.1 * fields


@pytest.mark.parametrize("values", [{}, {"shared": "none"}, {"bias": "query"}], ids=str)
def test_the_default_keeps_them_apart_and_the_student_learns_them(values):
    (fields, attention), (fields_after, attention_after), raw = train("mapping", anchor=True, **values)
    assert fields_after > 0.9 * fields
    assert attention_after > 0.9 * attention
    assert raw["anchor"] < 0.3
    assert raw["fields"] < 1.9 * fields_after, "unrelated fields differ by twice their variance"


@pytest.mark.parametrize(("bias", "weight"), [("query", 1.0), ("key", 10.0)])
def test_the_default_keeps_them_apart_though_prompts_learn_from_the_losses(bias, weight):
    (fields, _), (fields_after, _), raw = train("mapping", anchor=True, prompts=True, weight=weight, bias=bias)
    assert fields_after > 0.5 * fields
    assert raw["anchor"] < 0.3
    assert raw["fields"] < 1.7 * fields_after
