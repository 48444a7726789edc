"""Low-rank updates: the equation, frozen weights, merged weights, two ranks, resuming, and what is refused."""

import copy

import numpy as np
import pytest
import timm
import torch

from insightface_cakd.distill.sources.lora import LowRankUpdate
from insightface_cakd.errors import RecipeError
from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.recipe import load_recipe, parse_recipe
from insightface_cakd.runtime.ranks import rank, world_size
from insightface_cakd.tasks import seam
from tests.ranks import run_ranks
from tests.rounding import assert_equal_up_to_rounding
from tests.tasks.runs import launch
from tests.toy import WIDTH, of_ranks, toy_batch, toy_head, toy_host

CLASSES = 11


def plain():
    torch.manual_seed(4)
    return get_model("vit_tiny", num_features=WIDTH)


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "weights.pt"
    torch.save(plain().state_dict(), path)
    return str(path)


def built(weights, **lora):
    host = toy_host()
    host.get_model = get_model
    torch.manual_seed(0)
    content = {"teacher": {"network": "none"}, "student": {"weights": weights, "lora": lora}}
    distillation = seam.install(host, parse_recipe(content, "recipe"), {})
    student = host.get_model("vit_tiny", num_features=WIDTH)
    return student.train(), toy_head(host, CLASSES, (1.0, 0.5, 0.0)), distillation


def optimiser(student, head):
    return torch.optim.SGD([*student.parameters(), *head.parameters()], lr=0.02, momentum=0.9, weight_decay=5e-4)


def learn(student, head, opt, steps):
    torch.manual_seed(steps)
    images, labels = toy_batch(CLASSES)
    for _ in range(steps):
        opt.zero_grad()
        head(student(images), labels).backward()
        opt.step()


def test_the_equation():
    torch.manual_seed(1)
    layer = torch.nn.Linear(5, 7)
    update = LowRankUpdate(layer, rank=2, alpha=6)
    rows = torch.randn(3, 5)
    before = torch.nn.functional.linear(rows, layer.weight, layer.bias)
    assert torch.equal(layer(rows), before)
    torch.nn.init.normal_(update.B)
    w, b, first, second, x = (
        one.detach().double().numpy() for one in (layer.weight, layer.bias, update.A, update.B, rows)
    )
    np.testing.assert_allclose(layer(rows).detach(), x @ (w + 6 / 2 * second @ first).T + b, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(update.merged(), w + 3 * second @ first, rtol=1e-5, atol=1e-6)


def test_it_begins_as_the_base_and_trains_only_updates_and_the_embedding(weights):
    student, head, _ = built(weights)
    images, _ = toy_batch(CLASSES)
    base = plain().eval()
    with torch.no_grad():
        assert torch.equal(student.eval()(images), base(images))
    before = {name: value.clone() for name, value in student.backbone.named_parameters()}
    learn(student.train(), head, optimiser(student, head), 3)
    moved = {name for name, value in student.backbone.named_parameters() if not torch.equal(value, before[name])}
    assert moved == {name for name in before if name.startswith("feature.")}
    assert all(bool(update.B.any()) for update in student.method["lora"].values())
    assert set(student.method["lora"]) == {f"blocks/{n}/{k}" for n in range(len(base.blocks)) for k in ("qkv", "proj")}


def test_the_merged_weights_load_strictly_and_answer_alike(weights):
    student, head, _ = built(weights)
    learn(student, head, optimiser(student, head), 3)
    merged = plain()
    merged.load_state_dict(student.state_dict(), strict=True)
    images, _ = toy_batch(CLASSES)
    with torch.no_grad():
        ours, theirs, base = student.eval()(images), merged.eval()(images), plain().eval()(images)
    torch.testing.assert_close(theirs, ours, rtol=1e-4, atol=1e-4)
    assert float((base - ours).abs().max()) > 1e-2


def test_a_resumed_run_ends_bit_for_bit_like_an_uninterrupted_one(weights):
    student, head, _ = built(weights)
    opt = optimiser(student, head)
    learn(student, head, opt, 2)
    kept = [{key: value.clone() for key, value in part.state_dict().items()} for part in (student, head)]
    momenta = copy.deepcopy(opt.state_dict())
    again, other, _ = built(weights)
    again.load_state_dict(kept[0])
    other.load_state_dict(kept[1])
    opt2 = optimiser(again, other)
    opt2.load_state_dict(momenta)
    learn(again, other, opt2, 2)
    learn(student, head, opt, 2)
    for one, two in ((student, again), (head, other)):
        state = two.state_dict()
        assert all(torch.equal(value, state[key]) for key, value in one.state_dict().items())


def gradients(weights):
    student, head, _ = built(weights)
    # Statistics of a rank's own batch and dropped paths would differ.
    student.backbone.eval()
    for update in student.method["lora"].values():
        torch.nn.init.constant_(update.B, 0.01)
    images, labels = (part.chunk(world_size())[rank()] for part in toy_batch(CLASSES))
    wrapped = of_ranks(student)
    head(wrapped(images), labels).backward()
    return {name: value.grad for name, value in student.named_parameters() if value.requires_grad}


@pytest.mark.slow
def test_two_ranks_learn_what_one_process_does(tmp_path, weights):
    expected = gradients(weights)
    assert any(name.endswith("/A") or name.endswith(".A") for name in expected)
    for found in run_ranks(gradients, 2, weights):
        for name, gradient in expected.items():
            assert_equal_up_to_rounding(found[name], gradient, name, rounding=1e-4)


@pytest.mark.parametrize(
    ("lora", "message"),
    [
        ({"targets": ["qvk"]}, r"student\.lora\.targets: qvk is no linear layer .* Did you mean 'qkv'"),
        ({"trains": ["featre"]}, r"student\.lora\.trains: featre is no module .* Did you mean 'feature'"),
    ],
)
def test_unknown_layers_are_refused(weights, lora, message):
    with pytest.raises(RecipeError, match=message):
        built(weights, **lora)


def test_the_shipped_recipe():
    recipe = load_recipe("lora")
    assert recipe.student.lora.model_dump() == {"rank": 8, "alpha": 16, "targets": ["qkv", "proj"], "trains": None}
    assert (recipe.needs_teacher, recipe.lacks_init) == (False, True)


@pytest.fixture
def published(tmp_path):
    """The weights of a small ViT as timm publishes them, for 224 pixels and with a classifier."""
    torch.manual_seed(0)
    torch.save(timm.create_model("vit_tiny_patch16_224", pretrained=False).state_dict(), tmp_path / "vit.pt")
    return tmp_path / "vit.pt"


def check_trained(face_set, published, folder, config, *more):
    settings = {
        "rec": face_set,
        "network": "timm:vit_tiny_patch16_224",
        "embedding_size": 32,
        "batch_size": 8,
        "num_epoch": 1,
        "warmup_epoch": 0,
        "num_workers": 0,
        "lr": 0.01,
        "fp16": False,
    }
    options = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    launch(
        1, folder, ["train", config, "--distill", "lora", "--init", published, "--output", "teacher", *options, *more]
    )
    model = torch.load(folder / "teacher" / "model.pt", weights_only=True)
    network = get_model("timm:vit_tiny_patch16_224", num_features=32)
    network.load_state_dict(model, strict=True)
    given = torch.load(published, weights_only=True)
    moved = {key for key, value in network.body.state_dict().items() if not torch.equal(value, given[key])}
    assert {key.split(".", 2)[2] for key in moved if key.startswith("blocks.")} == {
        "attn.qkv.weight",
        "attn.proj.weight",
    }
    assert moved - {"pos_embed"} == {key for key in moved if key.startswith("blocks.")}, "the rest is timm's, resampled"


@pytest.mark.slow
def test_a_published_vit_becomes_a_teacher_in_one_command(face_set, published, tmp_path):
    check_trained(face_set, published, tmp_path, "faces_vit_tiny")
    teacher = ["--teacher", "teacher/model.pt", "--recipe-set", "teacher.network=timm:vit_tiny_patch16_224"]
    short = ["--set", "batch_size=8", "--set", "num_epoch=1", "--set", "warmup_epoch=0", "--set", "embedding_size=32"]
    command = ["train", "faces_cnn_tiny", "--data", face_set, "--distill", "cosine", "--output", "student", *teacher]
    launch(1, tmp_path, [*command, *short])
    assert (tmp_path / "student" / "model.pt").is_file()


@pytest.mark.upstream
@pytest.mark.slow
def test_untouched_arcface_torch_trains_it(face_set, published, tmp_path, arcface_torch):
    config = "configs/ms1mv3_mbf"
    sizes = ["num_classes=12", "num_image=48", "val_targets=[]", "save_all_states=False"]
    more = [part for size in sizes for part in ("--set", size)]
    check_trained(face_set, published, tmp_path, config, "--host", str(arcface_torch), *more)
