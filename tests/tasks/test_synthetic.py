"""Faces of a generator as a task: pairs of batches, two steps each, on the embedded host, on untouched arcface_torch, on two ranks."""

import json
from itertools import pairwise
from pathlib import Path

import pytest
import torch
import yaml
from easydict import EasyDict
from torch import nn

from insightface_cakd.errors import RecipeError, RunError
from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.recipe import load_recipe, parse_recipe
from insightface_cakd.recipe.named import NamedSpec
from insightface_cakd.report.curves import read_curves
from insightface_cakd.runtime.ranks import rank, world_size
from insightface_cakd.tasks import seam
from insightface_cakd.tasks.known import make_task
from insightface_cakd.tasks.synthetic import similarity_of
from insightface_cakd.tasks.task import DataRequest
from insightface_cakd.teachers import Teacher
from tests.commands import cakd, contents, error_line, refused
from tests.ranks import run_ranks
from tests.tasks.runs import check_one_student, check_resumed, launch

LINEAR = "tests.networks.generators.test_generators:linear"
SMALL = {
    "batch_size": 8,
    "num_epoch": 2,
    "warmup_epoch": 0,
    "num_workers": 0,
    "frequent": 2,
    "device": "cpu",
    "embedding_size": 16,
    "optimizer": "adamw",
    "lr": 0.001,
}
MSE = [{"loss": "mse", "normalised": False, "weight": 1}]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Untrained weights of a teacher, whose embeddings differ all the same."""
    path = tmp_path_factory.mktemp("teacher") / "teacher.pt"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        torch.save(get_model("cnn_tiny", num_features=16).state_dict(), path)
    return path


def write(path: Path, weights: Path, losses=MSE, **options) -> Path:
    task = {"kind": "synthetic", "generator": LINEAR, "latent": 8, "images": 32, **options}
    teacher = {"network": "cnn_tiny", "weights": str(weights)}
    path.write_text(yaml.safe_dump({"task": task, "teacher": teacher, "losses": losses}))
    return path


def arguments(data, output, recipe, *more, **settings):
    chosen = {"rec": str(data), "val_targets": ["dev"], **SMALL, **settings}
    sets = [part for key, value in chosen.items() for part in ("--set", f"{key}={value!r}")]
    return ["train", "faces_cnn_tiny", "--distill", str(recipe), "--output", str(output), *sets, *map(str, more)]


@pytest.fixture
def only_dev(face_set, tmp_path):
    """A folder with a verification set and no training set."""
    folder = tmp_path / "only_dev"
    folder.mkdir()
    (folder / "dev.bin").write_bytes((face_set / "dev.bin").read_bytes())
    return folder


def test_it_trains_without_a_real_face_and_says_its_speed_and_similarity(weights, only_dev, tmp_path):
    recipe = write(tmp_path / "r.yaml", weights)
    ran = cakd(*arguments(only_dev, tmp_path / "out", recipe))
    assert ran.code == 0, ran.err
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert result["steps"] == 2 * 32 // 8
    assert set(result["accuracy"]) == {"dev"}
    network = get_model("cnn_tiny", num_features=16)
    network.load_state_dict(torch.load(tmp_path / "out" / "model.pt", weights_only=True), strict=True)
    curves = read_curves(tmp_path / "out")
    assert {"distill/raw/similarity/fresh", "distill/raw/similarity/resampled"} <= set(curves)
    for part in ("generator", "teacher", "student"):
        assert all(value > 0 for _, value in curves[f"distill/raw/images_per_second/{part}"])
    assert "distill/gradient_ratio" not in curves
    log = (tmp_path / "out" / "training.log").read_text()
    assert "[synthetic][2] images/s: generator" in log
    assert "similarity c of resampled faces" in log
    report = json.loads((tmp_path / "out" / "run.json").read_text())
    assert report["recipe"]["task"]["kind"] == "synthetic"


class Known(nn.Module):
    """An embedding that is a fixed linear map of the image, scaled."""

    def __init__(self, factor=1.0, seed=1):
        super().__init__()
        weight = torch.randn(3 * 112 * 112, 6, generator=torch.Generator().manual_seed(seed)) / 100
        self.weight = nn.Parameter(weight * factor)

    def forward(self, images):
        return images.flatten(1) @ self.weight


def loop(tmp_path, student, resample=1.0, pairs=2, ranks_=1, losses=MSE, batch=6):
    """Return task, student, head and batches as a loop has them, with a linear teacher."""
    content = {
        "task": {
            "kind": "synthetic",
            "generator": LINEAR,
            "latent": 8,
            "resample": resample,
            "images": 2 * pairs * batch * ranks_,
        },
        "teacher": {"network": "toy"},
        "losses": losses,
    }
    recipe = parse_recipe(content, "recipe")
    teachers = {"teacher": Teacher.of_network(Known(), "known", 6, "cpu")}
    task = make_task(recipe.task)
    cfg = EasyDict(batch_size=batch, rec=str(tmp_path), gradient_acc=1, frequent=2)
    task.fill(cfg)
    host = EasyDict(get_model=lambda *_, **__: student, PartialFC_V2=nn.Module, get_dataloader=None)
    seam.install(host, recipe, teachers, task=task)
    wrapped = host.get_model("known", num_features=6).train()
    head = host.PartialFC_V2(None, 6, 2, 1.0, False)
    batches = host.get_dataloader(str(tmp_path), 0, batch, seed=5, num_workers=0, device=torch.device("cpu"))
    return task, teachers["teacher"], wrapped, head, batches


def test_the_loss_is_that_of_the_paper_and_two_steps_follow_each_draw(tmp_path):
    task, teacher, student, head, batches = loop(tmp_path, Known(seed=2))
    optimizer = torch.optim.Adam(student.parameters(), lr=1e-3)
    frozen = [weight.detach().clone() for weight in (*teacher.parameters(), task.generator.steps[0].weight)]
    seen, weights = [], []
    for images, target in batches:
        loss = head(student(images), target)
        ours, theirs = student.backbone(images), teacher(images)
        assert float(loss.detach()) == pytest.approx(
            float((ours - theirs).detach().square().sum() / (6 * len(images))), rel=1e-5
        )
        loss.backward()
        weights.append(student.backbone.weight.detach().clone())
        optimizer.step()
        optimizer.zero_grad()
        seen.append(images)
    assert len(seen) == len(batches) == 4
    assert all(not torch.equal(one, other) for one, other in pairwise(weights)), "a step after each"
    now = [*teacher.parameters(), task.generator.steps[0].weight]
    assert all(torch.equal(before, after) for before, after in zip(frozen, now, strict=True))
    assert all(weight.grad is None for weight in now)


@pytest.mark.parametrize(
    ("factor", "expected"), [(1.0, 1.0), (3.0, 1.0), (-1.0, 0.0)], ids=["same", "scaled", "opposite"]
)
def test_similarity_decides_how_far_the_second_batch_lies(factor, expected, tmp_path):
    """c = 1 where student and teacher agree up to scale: w' = w + lambda n. c = 0 where they are opposite: w' = w."""
    task, _, student, head, batches = loop(tmp_path, Known(factor), resample=0.7)
    taken = []
    synthesis = task.generator.synthesis
    task.generator.synthesis = lambda w, seed: (taken.append(w), synthesis(w, seed))[1]
    for images, target in batches:
        head(student(images), target)
        torch.testing.assert_close(task.exchange.similarity, torch.full((6,), expected), atol=1e-5, rtol=0)
        assert not task.exchange.similarity.requires_grad
    moved = taken[1] - taken[0]
    if expected == 0:
        torch.testing.assert_close(taken[1], taken[0], atol=1e-4, rtol=0)
    else:
        assert float(moved.std()) == pytest.approx(0.7, rel=0.3)
    assert not torch.equal(taken[0], taken[2]), "the next pair is fresh"


def test_lambda_0_shows_the_same_faces_twice(tmp_path):
    _, _, student, head, batches = loop(tmp_path, Known(seed=2), resample=0.0)
    seen = []
    for images, target in batches:
        head(student(images), target)
        seen.append(images)
    assert torch.equal(seen[0], seen[1])
    assert torch.equal(seen[2], seen[3])
    assert not torch.equal(seen[0], seen[2])


def test_similarity_by_hand():
    student = torch.tensor([[2.0, 0], [0, 5], [-1, 0], [1, 1]])
    teacher = torch.tensor([[1.0, 0], [1, 0], [1, 0], [1, 0]])
    torch.testing.assert_close(similarity_of(student, teacher), torch.tensor([1, 0.5, 0, (1 + 0.5**0.5) / 2]))


def test_a_loop_that_reads_ahead_is_refused(tmp_path):
    *_, batches = loop(tmp_path, Known())
    with pytest.raises(
        RunError, match=r"batch 1 of epoch 0 is asked for before student and teacher saw the one before"
    ):
        list(batches)


def test_what_is_drawn_depends_on_seed_epoch_and_batch_alone(tmp_path):
    def first(epoch, seed=5):
        task, *_ = loop(tmp_path, Known())
        batches = task.data(DataRequest(tmp_path, 6, seed, 0, torch.device("cpu")))
        batches.set_epoch(epoch)
        return next(iter(batches))[0]

    assert torch.equal(first(1), first(1))
    assert not torch.equal(first(0), first(1))
    assert not torch.equal(first(0), first(0, seed=6))


def on_ranks(folder):
    """Return a rank's images of two steps, its latents apart, and the gradient after them."""
    torch.manual_seed(0)
    student = Known(seed=2)
    task, _, wrapped, head, batches = loop(folder, student, ranks_=world_size(), batch=6 // world_size())
    if world_size() > 1:
        wrapped = nn.parallel.DistributedDataParallel(wrapped, find_unused_parameters=True)
        wrapped._set_static_graph()
    images = []
    for number, (seen, target) in zip(range(2), batches, strict=False):
        images.append(seen)
        student.zero_grad()
        head(wrapped(seen), target).backward()
        assert number == task.exchange.step
    return images, student.weight.grad, rank()


@pytest.mark.slow
def test_two_ranks_draw_other_latents_and_average_to_one_process_on_the_joint_batch(tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    (first, gradient, _), (second, same, _) = run_ranks(on_ranks, 2, tmp_path)
    assert not torch.equal(first[0], second[0])
    torch.testing.assert_close(gradient, same)
    student, teacher = Known(seed=2), Known()
    joint = torch.cat([first[1], second[1]])
    (student(joint) - teacher(joint).detach()).square().mean().backward()
    torch.testing.assert_close(gradient, student.weight.grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("real", [0.0, 0.5])
def test_a_stopped_run_goes_on_to_the_same_weights(real, weights, face_set, tmp_path):
    recipe = write(tmp_path / "r.yaml", weights, real=real)

    def run(output, *more):
        return cakd(*arguments(face_set, tmp_path / output, recipe, *more, save_all_states=True, val_targets=[]))

    check_resumed(run, tmp_path)


def first_batch(face_set, real, batch=8):
    task = make_task(NamedSpec(kind="synthetic", options={"real": real, "images": 160}))
    task.fill(EasyDict(batch_size=batch, rec=str(face_set), frequent=2))
    return task, task.data(DataRequest(face_set, batch, 5, 0, torch.device("cpu")))


@pytest.mark.parametrize(("real", "generated"), [(0.0, 8), (0.25, 6), (1.0, 0)])
def test_real_faces_take_their_share_of_a_batch_over_and_over(real, generated, face_set):
    task, batches = first_batch(face_set, real)
    assert (task.generator is None) == (real == 1)
    seen = []
    for images, target in batches:
        assert images.shape == (8, 3, 112, 112)
        assert task.exchange.generated == generated
        assert not target.any()
        task.exchange.similarity = torch.ones(generated)
        seen.append(images)
    assert len(seen) == len(batches) == 20, "48 real images are few: they come again"
    if real == 1:
        ours = {tuple(image.flatten()[::3000].tolist()) for images in seen for image in images}
        # Each image of the set, plain and mirrored.
        assert 48 <= len(ours) <= 96


def test_the_length_of_an_epoch_is_a_whole_number_of_pairs(tmp_path, face_set, monkeypatch):
    def images(ranks=1, **given):
        monkeypatch.setenv("WORLD_SIZE", str(ranks))
        cfg = EasyDict(batch_size=8, rec=str(face_set), num_image=given.pop("num_image", None))
        make_task(NamedSpec(kind="synthetic", options=given)).fill(cfg)
        return cfg.num_image

    assert images() == 48, "as many as the training set has"
    assert images(num_image=70) == 64
    assert images(images=100, num_image=70) == 96
    assert images(ranks=3, images=100) == 96
    with pytest.raises(RunError, match=r"7 images an epoch; expected at least 16, two batches of 8 on each of 1 ranks"):
        images(images=7)
    monkeypatch.setenv("WORLD_SIZE", "1")
    task = make_task(NamedSpec(kind="synthetic"))
    with pytest.raises(RecipeError, match=r"images is not set, and .* has no training set to count"):
        task.fill(EasyDict(batch_size=8, rec=str(tmp_path)))
    with pytest.raises(RecipeError, match=r"gradient_acc is 2; expected 1"):
        task.fill(EasyDict(batch_size=8, rec=str(face_set), gradient_acc=2))
    with pytest.raises(RecipeError, match=r"real is 0\.01, 0 images of a batch of 8; expected some of both"):
        make_task(NamedSpec(kind="synthetic", options={"real": 0.01})).fill(EasyDict(batch_size=8, rec=str(face_set)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resample": -1}, r"resample is -1; expected a number of at least 0"),
        ({"resample": float("nan")}, r"resample is nan; expected"),
        ({"real": 1.5}, r"real is 1\.5; expected a number between 0 and 1"),
        ({"images": 0}, r"images is 0; expected a whole number of at least 1"),
        ({"latent": "512"}, r"latent is '512'; expected a whole number"),
        ({"generator": 3}, r"generator is 3, mapping None; expected names"),
        ({"crop": "eyes"}, r"crop is 'eyes'; expected whole, ffhq"),
        ({"pixels": [1, -1]}, r"pixels is \[1, -1\]; expected \[least, largest\]"),
        ({"lambda": 1}, r"lambda is not an option of Synthetic; known: generator, resample"),
    ],
)
def test_an_option_out_of_range_is_refused(options, message):
    with pytest.raises(RecipeError, match=r"recipe: task synthetic: " + message):
        make_task(NamedSpec(kind="synthetic", options=options))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"latent": 9}, r"generator .*:linear: fails on latents \(4, 9\)"),
        ({"generator": "tests.networks.generators.test_generators:holes"}, r"generator .*:holes: its images hold NaN"),
        ({"generator": "stylegan.pkl"}, r"generator stylegan\.pkl: a pickle, which may run any code"),
    ],
)
def test_a_wrong_generator_stops_the_run_before_anything_is_written(options, message, weights, only_dev, tmp_path):
    recipe = write(tmp_path / "r.yaml", weights, **options)
    refused(arguments(only_dev, tmp_path / "out", recipe), message, tmp_path)


def test_terms_that_need_identities_and_no_teacher_are_refused(weights, only_dev, tmp_path):
    recipe = write(tmp_path / "r.yaml", weights, losses=[{"loss": "ekd", "weight": 1}])
    line = error_line(cakd(*arguments(only_dev, tmp_path / "out", recipe)))
    assert "term 'ekd' needs the identity of each image, and task synthetic has none" in line
    recipe.write_text("task: {kind: synthetic, images: 32}\n")
    line = error_line(cakd(*arguments(only_dev, tmp_path / "out", recipe)))
    assert "task synthetic without a teacher or a term learns nothing" in line


def test_the_doctor_rehearses_it(weights, only_dev, tmp_path):
    recipe = write(tmp_path / "r.yaml", weights)
    _, config, _, _, _, _, *more = arguments(only_dev, tmp_path / "out", recipe)
    ran = cakd("doctor", "--config", config, "--distill", recipe, *more)
    assert ran.code == 0, ran.out + ran.err
    assert "first batch: 2 images" in ran.out
    assert "out" not in contents(tmp_path)


def test_the_recipe_is_the_papers_and_its_ablation_changes_one_value():
    recipe, other = load_recipe("synthdistill"), load_recipe("ablations/synthdistill_no_resampling")
    assert recipe.task.options == {"generator": "drawn", "resample": 1.0}
    assert other.task.options == {"generator": "drawn", "resample": 0.0}
    assert (recipe.losses, recipe.teacher) == (other.losses, other.teacher)
    term = recipe.losses[0]
    student = torch.tensor([[1.0, 2, 3], [0, 0, 1]])
    teacher = torch.tensor([[1.0, 0, 3], [0, 3, 0]])
    labels = torch.zeros(2, dtype=torch.int64)
    assert float(term.build_loss()(student, teacher, labels)) == pytest.approx((4 + 9 + 1) / (3 * 2)), "by hand"


@pytest.mark.slow
def test_two_ranks_train_it_and_leave_one_student(weights, only_dev, tmp_path):
    recipe = write(tmp_path / "r.yaml", weights)
    launch(2, tmp_path, arguments(only_dev, tmp_path / "out", recipe, save_all_states=True))
    assert check_one_student(tmp_path / "out")["global_step"] == 4


@pytest.mark.upstream
@pytest.mark.slow
@pytest.mark.parametrize("ranks", [1, 2])
def test_untouched_arcface_torch_trains_it(ranks, face_set, tmp_path, arcface_torch):
    torch.save(get_model("mbf", num_features=16).state_dict(), tmp_path / "teacher.pt")
    recipe = write(tmp_path / "r.yaml", tmp_path / "teacher.pt", images=64)
    recipe.write_text(recipe.read_text().replace("cnn_tiny", "mbf"))
    settings = {
        "rec": str(face_set),
        "network": "mbf",
        "embedding_size": 16,
        "num_classes": 12,
        "val_targets": ["dev"],
        "batch_size": 8,
        "num_epoch": 2,
        "warmup_epoch": 0,
        "lr": 0.001,
        "num_workers": 0,
        "frequent": 2,
        "verbose": 4,
        "fp16": False,
        "save_all_states": True,
    }
    sets = [part for key, value in settings.items() for part in ("--set", f"{key}={value!r}")]
    more = ["--distill", str(recipe), "--host", str(arcface_torch), "--output", str(tmp_path / "out")]
    said = launch(ranks, tmp_path, ["train", "configs/ms1mv3_mbf", *more, *sets])
    said += (tmp_path / "out" / "training.log").read_text()
    assert "[synthetic][2] images/s: generator" in said
    assert "[dev]" in said
    state = torch.load(tmp_path / "out" / "model.pt", weights_only=True)
    get_model("mbf", num_features=16).load_state_dict(state, strict=True)
    checkpoint = torch.load(tmp_path / "out" / "checkpoint_gpu_0.pt", weights_only=True)
    assert checkpoint["global_step"] == 16 // ranks
