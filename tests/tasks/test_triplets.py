"""Verification by triplets as a task: the loss, both hosts, two ranks, resume."""

import json

import numpy as np
import pytest
import torch
from easydict import EasyDict
from torch import nn

from insightface_cakd.errors import RecipeError
from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.recipe import parse_recipe
from insightface_cakd.recipe.named import NamedSpec
from insightface_cakd.tasks.known import make_task, task_of
from insightface_cakd.tasks.triplets import triplet_loss
from tests.commands import cakd, error_line
from tests.ranks import RANKS, run_ranks
from tests.tasks.runs import arguments, check_one_student, check_resumed, launch

RECIPE = "task: {kind: triplets, images: 2}\n"


def oracle(embedding, people, margin):
    rows = embedding / np.linalg.norm(embedding, axis=1, keepdims=True)
    distances = ((rows[:, None] - rows[None]) ** 2).sum(-1)
    same = people[:, None] == people[None]
    hinges = [
        max(0.0, distances[a, p] - distances[a, n] + margin)
        for a in range(len(people))
        for p in range(len(people))
        for n in range(len(people))
        if a != p and same[a, p] and not same[a, n]
    ]
    return np.mean(hinges)


def batch(people=4, images=3, width=5, seed=0):
    random = np.random.default_rng(seed)
    return random.normal(size=(people * images, width)), np.repeat(np.arange(people), images)


@pytest.mark.parametrize(("images", "margin"), [(2, 0.2), (3, 0.0), (4, 1.5)])
def test_the_loss_is_the_mean_over_every_triplet(images, margin):
    embedding, people = batch(images=images)
    found = triplet_loss(torch.from_numpy(embedding), torch.from_numpy(people), images, margin)
    assert float(found) == pytest.approx(oracle(embedding, people, margin), rel=1e-5)


def test_the_loss_is_zero_where_every_margin_is_met_and_two_where_all_are_one_point():
    rows = torch.eye(3).repeat_interleave(2, dim=0)
    people = torch.arange(3).repeat_interleave(2)
    assert float(triplet_loss(rows, people, 2, 0.2)) == 0
    assert float(triplet_loss(torch.ones(6, 3), people, 2, 0.2)) == pytest.approx(0.2)


def test_its_gradient_is_that_of_finite_differences():
    embedding, people = batch(people=3, images=2, width=3)
    rows = torch.from_numpy(embedding).float().requires_grad_()
    triplet_loss(rows, torch.from_numpy(people), 2, 1.0).backward()
    step = 1e-5
    for place in np.ndindex(embedding.shape):
        up, down = embedding.copy(), embedding.copy()
        up[place] += step
        down[place] -= step
        numeric = (oracle(up, people, 1.0) - oracle(down, people, 1.0)) / (2 * step)
        assert float(rows.grad[place]) == pytest.approx(numeric, abs=1e-4)


@pytest.mark.parametrize("people", [[0, 0, 0, 0], [0, 1, 2, 3], [5]])
def test_a_batch_without_triplets_is_a_differentiable_zero(people):
    rows = torch.randn(len(people), 4, requires_grad=True)
    loss = triplet_loss(rows, torch.tensor(people), 2, 0.2)
    loss.backward()
    assert float(loss.detach()) == 0
    assert not rows.grad.any()


def _head_gradient(rows, people):
    world, rank = torch.distributed.get_world_size(), torch.distributed.get_rank()
    mine = rows.chunk(world)[rank].clone().requires_grad_()
    head = make_task(NamedSpec(kind="triplets", options={"images": 2})).head(nn.Module)()
    loss = head(mine, people.chunk(world)[rank])
    loss.backward()
    return float(loss), mine.grad


@pytest.mark.parametrize("world", RANKS)
def test_ranks_compute_the_loss_of_the_joint_batch_and_its_gradient(world):
    torch.manual_seed(0)
    rows, people = torch.randn(12, 6), torch.arange(6).repeat_interleave(2)
    whole = rows.clone().requires_grad_()
    loss = triplet_loss(whole, people, 2, 0.2)
    loss.backward()
    found = run_ranks(_head_gradient, world, rows, people)
    assert all(value == pytest.approx(float(loss)) for value, _ in found)
    # Rows, not parameters: DDP's average divides what a parameter gets by the ranks, so a rank's rows get the sum over ranks.
    torch.testing.assert_close(torch.cat([gradient for _, gradient in found]) / world, whole.grad)


@pytest.fixture
def alone(tmp_path):
    path = tmp_path / "alone.yaml"
    path.write_text(RECIPE + "teacher: {network: none}\n")
    return path


def test_it_trains_without_classes_and_verifies(face_set, alone, tmp_path):
    ran = cakd(*arguments(face_set, tmp_path / "out", alone))
    assert ran.code == 0, ran.err
    assert set(json.loads((tmp_path / "out" / "result.json").read_text())["accuracy"]) == {"dev"}
    state = torch.load(tmp_path / "out" / "model.pt", weights_only=True)
    get_model("cnn_tiny", num_features=64).load_state_dict(state, strict=True)


def test_a_stopped_run_goes_on_to_the_same_weights(face_set, alone, tmp_path):
    def run(output, *more):
        return cakd(*arguments(face_set, tmp_path / output, alone, *more, save_all_states=True))

    check_resumed(run, tmp_path)


@pytest.mark.slow
def test_two_ranks_train_it_and_leave_one_student(face_set, alone, tmp_path):
    launch(2, tmp_path, arguments(face_set, tmp_path / "out", alone, save_all_states=True, batch_size=4))
    check_one_student(tmp_path / "out")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"images": 1}, r"task triplets: images is 1; expected at least 2"),
        ({"margin": -0.1}, r"task triplets: margin is -0\.1; expected 0 or more"),
        ({"margin": 4.0}, r"task triplets: margin is 4\.0; expected 0 or more, and below 4"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(RecipeError, match=message):
        make_task(NamedSpec(kind="triplets", options=options))


@pytest.mark.parametrize("size", [2, 9])
def test_a_batch_that_is_no_people_times_images_is_refused(face_set, size):
    with pytest.raises(
        RecipeError, match=rf"batch_size is {size} with 4 images of a person; expected a multiple of it"
    ):
        make_task(NamedSpec(kind="triplets")).fill(EasyDict(rec=str(face_set), batch_size=size))


def test_people_of_one_image_are_refused_where_too_few_others_remain(face_set, alone, tmp_path):
    line = error_line(cakd(*arguments(face_set, tmp_path / "out", alone, batch_size=64)))
    assert "with two images or more, 0 with one; expected 32 for a step of 1 x 32" in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("part", [{"head": {"centres": "teacher"}}, {"losses": [{"loss": "kd", "weight": 1}]}])
def test_parts_that_need_a_margin_on_class_centres_are_refused(part):
    content = {"task": "triplets", "teacher": {"network": "toy"}, "losses": [{"loss": "mse", "weight": 1}], **part}
    with pytest.raises(
        RecipeError, match=r"needs a head with a margin on class centres, and that of task triplets has"
    ):
        task_of(parse_recipe(content, "recipe"))
    content["losses"] = [{"loss": "kd", "weight": 1, "reads": "centre_logits"}]
    content.pop("head", None)
    task_of(parse_recipe(content, "recipe"))
