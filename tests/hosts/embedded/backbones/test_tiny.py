"""cnn_tiny, cnn_small and vit_tiny: cheap, tapped by name, and shaped like the large networks they stand for."""

import onnxruntime
import pytest
import torch
from torch import nn

from insightface_cakd.export.onnx import export_onnx
from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.hosts.embedded.backbones.tiny import Block, ResidualBlock
from tests.hosts.embedded.backbones.test_backbone_export import settled

CNN_TAPS = {
    "layer1": (16, 56, 56),
    "layer2": (32, 28, 28),
    "layer3": (64, 14, 14),
    "layer4": (128, 7, 7),
    "pool": (128, 1, 1),
    "features": (512,),
}
TAPS = {
    "cnn_tiny": CNN_TAPS,
    "cnn_small": CNN_TAPS | {"pool": (512, 1, 1)},
    "vit_tiny": {
        "patch_embed": (128, 7, 7),
        "blocks.0": (49, 128),
        "blocks.1": (49, 128),
        "blocks.2": (49, 128),
        "blocks.3": (49, 128),
        "norm": (49, 128),
        "feature": (512,),
    },
}


def images(count: int) -> torch.Tensor:
    return torch.rand(count, 3, 112, 112, generator=torch.Generator().manual_seed(count)) * 2 - 1


def outputs(network: nn.Module, paths, batch: torch.Tensor) -> dict[str, torch.Tensor]:
    seen = {}
    hooks = [
        network.get_submodule(path).register_forward_hook(lambda _, __, output, path=path: seen.update({path: output}))
        for path in paths
    ]
    network(batch)
    for hook in hooks:
        hook.remove()
    return seen


def multiplications(network: nn.Module) -> int:
    """Of one image, counted layer by layer: outputs times inputs of each; attention's two products beside them."""
    counts = []

    def count(layer: nn.Module, inputs, output) -> None:
        weight = layer.weight
        places = output[0].numel() // weight.shape[0]
        counts.append(places * weight.numel())

    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(count)
        if isinstance(layer, Block):
            counts.append(2 * 49 * 49 * layer.norm1.normalized_shape[0])
    network.eval()(images(1))
    return sum(counts)


@pytest.mark.parametrize(
    ("name", "parameters", "products"),
    [("cnn_tiny", 171_008, 12.3e6), ("cnn_small", 1_304_704, 116.8e6), ("vit_tiny", 4_109_824, 56.4e6)],
)
def test_they_are_as_small_as_they_say(name, parameters, products):
    network = get_model(name)
    assert sum(weight.numel() for weight in network.parameters()) == parameters
    assert multiplications(network) == pytest.approx(products, rel=0.01)


@pytest.mark.parametrize("name", TAPS)
def test_tap_points_have_their_documented_shapes(name):
    seen = outputs(get_model(name).eval(), TAPS[name], images(2))
    assert {path: tuple(output.shape[1:]) for path, output in seen.items()} == TAPS[name]


@pytest.mark.parametrize("name", TAPS)
def test_nothing_that_can_be_tapped_is_overwritten_later(name):
    seen = outputs(get_model(name), TAPS[name], images(2))
    assert {path: output._version for path, output in seen.items()} == dict.fromkeys(TAPS[name], 0)


@pytest.mark.parametrize("name", TAPS)
def test_every_tap_takes_part_in_the_embedding(name):
    network = get_model(name, num_features=32)
    seen = outputs(network, TAPS[name], images(2))
    (embedding,) = [seen[path] for path in TAPS[name] if path in ("features", "feature")]
    gradients = torch.autograd.grad((embedding * torch.randn(2, 32)).sum(), list(seen.values()))
    assert all(gradient.abs().sum() > 0 for gradient in gradients)


@pytest.mark.parametrize("name", TAPS)
@pytest.mark.parametrize("width", [128, 512])
def test_an_embedding_is_normalised_over_the_batch_like_arcfaces(name, width):
    torch.manual_seed(0)
    network = get_model(
        name, num_features=width
    ).double()  # BatchNorm's 1e-5 is not small beside a fresh network's output
    last = network.feature[0] if name == "vit_tiny" else network.fc
    with torch.no_grad():
        last.weight *= 1e4
        embeddings = network(images(16).double())
    assert embeddings.shape == (16, width)
    torch.testing.assert_close(embeddings.mean(dim=0), torch.zeros(width).double(), atol=1e-6, rtol=0)
    torch.testing.assert_close(embeddings.var(dim=0, unbiased=False), torch.ones(width).double(), atol=1e-3, rtol=0)


@pytest.mark.parametrize("name", TAPS)
def test_an_autocast_around_them_leaves_the_embedding_single_precision(name):
    torch.manual_seed(0)
    network = get_model(name, num_features=32)
    with torch.no_grad():
        network(images(8))
        network.eval()
        full = network(images(4))
        with torch.autocast("cpu", torch.bfloat16):
            half = network(images(4))
    assert half.dtype == torch.float32
    assert not torch.equal(full, half), "the body did run in half precision"
    assert nn.functional.cosine_similarity(full, half).min() > 0.99


@pytest.mark.parametrize("name", TAPS)
def test_half_precision_is_an_option_that_changes_nothing_without_cuda(name):
    full, half = get_model(name, num_features=32).eval(), get_model(name, num_features=32, fp16=True).eval()
    half.load_state_dict(full.state_dict())
    assert (full.fp16, half.fp16) == (False, True)
    with torch.no_grad():
        assert torch.equal(full(images(1)), half(images(1)))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", TAPS)
def test_half_precision_on_cuda_stays_close_and_gives_single_precision(name):
    network = get_model(name, num_features=32, fp16=True).cuda()
    with torch.no_grad():
        network(images(8).cuda())
        network.eval()
        half = network(images(4).cuda())
        network.fp16 = False
        full = network(images(4).cuda())
    assert half.dtype == torch.float32
    assert nn.functional.cosine_similarity(full, half).min() > 0.99


def test_tokens_lie_row_by_row():
    """A corner token sees 31 pixels of the image: what changes at the other end of the row or column is not its business."""
    network = get_model("vit_tiny").eval()
    plain, changed = images(1), images(1)
    changed[..., :16, 96:] = 1.0  # the right end of the first row
    with torch.no_grad():
        before, after = (network.patch_embed(batch).flatten(2).transpose(1, 2) for batch in (plain, changed))
    moved = (before != after).any(dim=-1)[0].nonzero().flatten().tolist()
    assert 6 in moved
    assert not {0, 42, 48} & set(moved)


def test_a_token_knows_its_place():
    """Without the position embedding the blocks treat tokens as a set; with it they do not."""
    network, order = get_model("vit_tiny").eval(), torch.randperm(49, generator=torch.Generator().manual_seed(0))
    tokens = torch.randn(1, 49, 128)
    with torch.no_grad():
        torch.testing.assert_close(
            network.blocks(tokens)[:, order], network.blocks(tokens[:, order]), rtol=1e-4, atol=1e-5
        )
        placed, swapped = (network.blocks(batch + network.pos_embed) for batch in (tokens, tokens[:, order]))
    assert not torch.allclose(placed[:, order], swapped, rtol=1e-3, atol=1e-3)


def test_a_block_is_attention_and_a_two_layer_network_each_added_to_normalised_input():
    """Written out head by head, in double precision."""
    torch.manual_seed(0)
    block, tokens = Block(width=8, heads=2).double(), torch.randn(3, 5, 8, dtype=torch.float64)
    query, key, value = block.qkv(block.norm1(tokens)).split(8, dim=-1)
    heads = []
    for head in (slice(0, 4), slice(4, 8)):
        weights = (query[..., head] @ key[..., head].transpose(1, 2) / 4**0.5).softmax(dim=-1)
        heads.append(weights @ value[..., head])
    attended = tokens + block.proj(torch.cat(heads, dim=-1))
    normal = block.norm2(attended)
    hidden = normal @ block.mlp[0].weight.T + block.mlp[0].bias
    active = hidden * 0.5 * (1 + torch.erf(hidden / 2**0.5))
    torch.testing.assert_close(block(tokens), attended + active @ block.mlp[2].weight.T + block.mlp[2].bias)


def test_a_residual_block_adds_two_convolutions_to_its_input():
    """With fresh batch norms of eval mode, which divide by sqrt(1 + 1e-5), and slopes of 0.25 below zero."""
    torch.manual_seed(0)
    block, maps = ResidualBlock(4).double().eval(), torch.randn(2, 4, 5, 5, dtype=torch.float64)
    first, last = block.unit[0].weight, block.last[0].weight
    hidden = nn.functional.conv2d(maps, first, padding=1) / (1 + 1e-5) ** 0.5
    hidden = torch.where(hidden > 0, hidden, 0.25 * hidden)
    expected = maps + nn.functional.conv2d(hidden, last, padding=1) / (1 + 1e-5) ** 0.5
    torch.testing.assert_close(block(maps), expected)


def test_the_cnn_weighs_every_channel_at_every_place():
    """With neutral BatchNorms the pool is the sum over the 49 places of weight * value, channel by channel."""
    network = get_model("cnn_tiny").eval()
    maps = torch.randn(2, 128, 7, 7)
    expected = (maps * network.pool[0].weight[:, 0]).sum(dim=(2, 3)) / (1 + 1e-5) ** 0.5
    torch.testing.assert_close(network.pool(maps).flatten(1), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", TAPS)
def test_they_learn_to_tell_a_few_images_apart(name):
    torch.manual_seed(0)
    network, batch, labels = get_model(name, num_features=32), images(8), torch.arange(8)
    head = nn.Linear(32, 8)
    optimizer = torch.optim.AdamW([*network.parameters(), *head.parameters()], lr=1e-3)
    losses = []
    for _ in range(12):
        loss = nn.functional.cross_entropy(head(network(batch)), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("exporter", ["legacy", pytest.param("dynamo", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", TAPS)
def test_the_exported_network_takes_any_batch(name, exporter, tmp_path):
    network = settled(name)
    export_onnx(network, tmp_path / "network.onnx", {}, exporter)
    session = onnxruntime.InferenceSession(tmp_path / "network.onnx", providers=["CPUExecutionProvider"])
    for count in (1, 3):
        with torch.no_grad():
            expected = network(images(count))
        (embeddings,) = session.run(["embedding"], {"data": images(count).numpy()})
        torch.testing.assert_close(torch.from_numpy(embeddings), expected, atol=1e-4, rtol=0)
