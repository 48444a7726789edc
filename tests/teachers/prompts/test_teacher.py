"""A teacher with prompts: what learns, what stays, what is kept."""

import copy

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from insightface_cakd.distill.taps import Taps
from insightface_cakd.errors import ShapeError, TeacherError
from insightface_cakd.teachers.prompts import PromptedTeacher, PromptSpec
from tests.teachers.faces import TinyFace
from tests.teachers.prompts.networks import KINDS, WIDTH, images, prompted

every_kind = pytest.mark.parametrize("kind", KINDS)


def loss_of(teacher, batch):
    return teacher(batch).square().mean() + teacher.tokens.square().mean()


@every_kind
def test_the_plain_answer_is_the_network_alone_bit_for_bit(kind):
    teacher, batch = prompted(kind), images(kind)
    with torch.no_grad():
        expected = teacher.embedder(batch)
        teacher(batch)
    assert torch.equal(teacher.plain(batch), expected)
    assert not teacher.plain(batch).requires_grad
    assert all("forward" not in vars(module) for module in teacher.embedder.modules())


@every_kind
@pytest.mark.parametrize("placement", ["stage", "deep", "shallow"])
def test_the_gradient_reaches_every_prompt_and_nothing_else(kind, placement):
    teacher = prompted(kind, placement=placement)
    teacher(images(kind)).square().mean().backward()
    assert all(prompts.grad.abs().sum() > 0 for prompts in teacher.prompts.sets)
    assert all(weight.grad is None and not weight.requires_grad for weight in teacher.embedder.parameters())


@every_kind
def test_the_backward_computes_input_gradients_only(kind):
    """A linear layer's input gradient costs its forward again, its weight gradient as much once more; a frozen one needs none."""
    teacher, batch = prompted(kind), images(kind)
    with FlopCounterMode(display=False) as forward:
        outputs = [teacher(batch), teacher.tokens]
    with FlopCounterMode(display=False) as backward:
        torch.autograd.grad([x.sum() for x in outputs], list(teacher.prompts.parameters()))
    assert 0 < matrix_products(backward) <= matrix_products(forward)


def matrix_products(counted):
    """Return the operations of linear layers, attention and patch embedding left out."""
    counts = counted.get_flop_counts()["Global"]
    return sum(flops for operator, flops in counts.items() if operator in (torch.ops.aten.mm, torch.ops.aten.addmm))


@every_kind
def test_three_steps_change_the_prompts_and_no_bit_of_the_network(kind):
    teacher, batch = prompted(kind), images(kind)
    frozen = copy.deepcopy(teacher.embedder.state_dict())
    before = [prompts.detach().clone() for prompts in teacher.prompts.sets]
    optimizer = torch.optim.SGD(teacher.prompts.parameters(), lr=0.1, momentum=0.9)
    for _ in range(3):
        teacher.train()
        optimizer.zero_grad()
        loss_of(teacher, batch).backward()
        optimizer.step()
    state = teacher.embedder.state_dict()
    assert all(torch.equal(state[key], value) for key, value in frozen.items())
    assert not any(torch.equal(*pair) for pair in zip(before, teacher.prompts.sets, strict=True))


@every_kind
@pytest.mark.parametrize("placement", ["stage", "shallow"])
def test_recomputing_gives_the_same_gradients(kind, placement):
    gradients = []
    for checkpoint in (False, True):
        teacher = prompted(kind, checkpoint=checkpoint, placement=placement)
        loss_of(teacher, images(kind)).backward()
        gradients.append([prompts.grad for prompts in teacher.prompts.sets])
    for kept, recomputed in zip(*gradients, strict=True):
        torch.testing.assert_close(recomputed, kept)


@every_kind
def test_recomputing_keeps_fewer_activations(kind):
    def kept(checkpoint):
        teacher, sizes = prompted(kind, checkpoint=checkpoint), []
        with torch.autograd.graph.saved_tensors_hooks(lambda x: sizes.append(x.numel()) or x, lambda x: x):
            loss_of(teacher, images(kind))
        return sum(sizes)

    assert kept(True) < 0.6 * kept(False)


@every_kind
def test_no_graph_is_built_where_gradients_are_off(kind):
    teacher = prompted(kind, checkpoint=True)
    with torch.no_grad():
        assert not teacher(images(kind)).requires_grad
    assert not teacher.tokens.requires_grad


@every_kind
def test_taps_on_blocks_and_norm_read_the_networks_own_tokens(kind):
    teacher, batch = prompted(kind), images(kind)
    blocks = [name for name, module in teacher.network.named_modules() if module in teacher._blocks.blocks]
    shapes = []
    for run in (teacher.plain, teacher):
        with torch.no_grad(), Taps(teacher.network, [*blocks, "norm"]) as taps:
            run(batch)
            shapes.append({path: tap.shape for path, tap in taps.collect().items()})
    assert shapes[0] == shapes[1]


def test_taps_inside_a_block_of_a_swin_fire_once():
    teacher = prompted("swin")
    paths = [f"layers.1.blocks.1.{part}" for part in ("norm1", "attn", "attn.qkv", "attn.proj", "norm2", "mlp")]
    with torch.no_grad(), Taps(teacher.network, paths) as taps:
        teacher(images("swin"))
        assert list(taps.collect()) == paths


@every_kind
def test_bfloat16_stays_finite_and_close(kind):
    teacher, batch = prompted(kind), images(kind)
    with torch.no_grad():
        full = teacher(batch)
    teacher._autocasts = True  # what a CUDA device sets
    loss = loss_of(teacher, batch)
    loss.backward()
    assert torch.cosine_similarity(teacher(batch), full).min() > 0.99
    assert all(torch.isfinite(prompts.grad).all() for prompts in teacher.prompts.sets)
    assert teacher.tokens.dtype == torch.float32


def test_the_loops_autocast_changes_nothing():
    teacher, batch = prompted("swin"), images("swin")
    with torch.no_grad():
        expected = teacher(batch)
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(teacher(batch), expected)


@every_kind
def test_prompts_survive_a_file(kind, tmp_path):
    teacher, other = prompted(kind), prompted(kind)
    with torch.no_grad():
        for prompts in teacher.prompts.sets:
            prompts.add_(torch.randn_like(prompts))
        expected = teacher(images(kind))
        assert not torch.equal(other(images(kind)), expected)
        torch.save(teacher.prompts.state_dict(), tmp_path / "prompts.pt")
        other.prompts.load_state_dict(torch.load(tmp_path / "prompts.pt", weights_only=True))
        assert torch.equal(other(images(kind)), expected)


def test_initial_prompts_fill_the_range_of_the_patch_embedding_and_are_the_same_in_every_run():
    torch.manual_seed(123)
    teacher, again = prompted("swin", tokens=200), prompted("swin", tokens=200)
    limits = [(6 / (3 * 4**2 + width)) ** 0.5 for width in (8, 16)]
    for prompts, limit in zip(teacher.prompts.sets, limits, strict=True):
        assert 0.98 * limit < prompts.abs().max() <= limit
        assert abs(prompts.mean()) < 0.1 * limit
    assert all(torch.equal(*pair) for pair in zip(teacher.prompts.sets, again.prompts.sets, strict=True))
    teacher.prompts.initialise()
    assert not torch.equal(teacher.prompts.sets[0], again.prompts.sets[0])


def test_the_images_may_have_another_size():
    teacher = prompted("swin")
    with torch.no_grad():
        assert teacher(torch.zeros(2, 3, 112, 112)).shape == (2, WIDTH)
    with pytest.raises(ShapeError, match=r"images are \(2, 112, 112\)"):
        teacher(torch.zeros(2, 112, 112))


def test_a_failed_forward_leaves_the_network_as_it_was():
    teacher = prompted("vit_tiny")
    hook = teacher.embedder.norm.register_forward_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        teacher(images("vit_tiny"))
    hook.remove()
    assert all("forward" not in vars(module) for module in teacher.embedder.modules())


class Mixer(nn.Module):
    """Blocks that mix a fixed number of tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.pos_embed = nn.Parameter(torch.zeros(1, 49, 8))
        self.patch_embed = nn.Conv2d(3, 8, 16, 16)
        self.blocks = nn.Sequential(Mixing())
        self.norm, self.feature = nn.LayerNorm(8), nn.Linear(8 * 49, WIDTH)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return (B, WIDTH)."""
        tokens = self.patch_embed(images).flatten(2).transpose(1, 2)
        return self.feature(self.norm(self.blocks(tokens)).flatten(1))


class Mixing(nn.Module):
    """A linear layer over 49 tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2, self.mix = nn.LayerNorm(8), nn.LayerNorm(8), nn.Linear(49, 49)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the mixed tokens."""
        return tokens + self.mix(self.norm1(tokens).transpose(1, 2)).transpose(1, 2)


@pytest.mark.parametrize(
    ("network", "line"),
    [
        (TinyFace(WIDTH), r"teacher net: TinyFace has no tokens .*arcface_torch's ViT, .*Remove teacher.prompts"),
        (Mixer(), r"teacher net: cannot be run with 8 more tokens \(.*any number of tokens. Remove teacher.prompts"),
    ],
)
def test_a_network_that_cannot_take_prompts_is_one_line(network, line):
    with pytest.raises(TeacherError, match=line) as caught:
        PromptedTeacher(network, "net", WIDTH, "cpu", PromptSpec())
    assert "\n" not in str(caught.value)


@every_kind
def test_the_gradient_is_the_slope_of_the_tokens(kind):
    """Along a random direction in the space of all prompts."""
    teacher, batch = prompted(kind, torch.float64), images(kind, dtype=torch.float64)
    sets = list(teacher.prompts.sets)
    teacher(batch)
    weights = torch.randn(teacher.tokens.shape, dtype=torch.float64)
    gradients = torch.autograd.grad((teacher.tokens * weights).sum(), sets)
    direction = [torch.randn_like(prompts) for prompts in sets]

    @torch.no_grad()
    def moved(step):
        for prompts, way in zip(sets, direction, strict=True):
            prompts.add_(way, alpha=step)
        teacher(batch)
        value = (teacher.tokens * weights).sum()
        for prompts, way in zip(sets, direction, strict=True):
            prompts.sub_(way, alpha=step)
        return value

    slope = (moved(1e-6) - moved(-1e-6)) / 2e-6
    along = sum((gradient * way).sum() for gradient, way in zip(gradients, direction, strict=True))
    torch.testing.assert_close(along, slope, rtol=1e-6, atol=1e-6)
