"""Anti-spoofing as a task: attack, balanced batches, training with the shipped recipes, resume, export, bad input."""

import json

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from insightface_cakd.data.liveness import pack_liveness, read_liveness
from insightface_cakd.distill.sources.domain_attack import attacked
from insightface_cakd.errors import DataError, EvaluationError
from insightface_cakd.evaluate.liveness.scoring import measure_liveness
from insightface_cakd.hosts.embedded import train_v2
from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.networks.modes import evaluating
from insightface_cakd.tasks.liveness import BalancedSampler, FacesOfKinds
from tests.commands import cakd, error_line
from tests.tasks.runs import check_one_student, check_resumed, launch

SMALL = {"batch_size": 12, "num_epoch": 2, "warmup_epoch": 0, "num_workers": 0, "frequent": 1, "device": "cpu"}


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    """Three domains of different brightness; spoofs have stripes."""
    folder = tmp_path_factory.mktemp("live")
    random = np.random.default_rng(0)
    for domain, light in (("a", 60), ("b", 110), ("c", 160)):
        for kind, count in (("live", 9), ("spoof", 7)):
            (folder / domain / kind).mkdir(parents=True)
            for index in range(count):
                image = random.normal(light, 10, (112, 112, 3))
                image[::4] += 60 * (kind == "spoof")
                cv2.imwrite(str(folder / domain / kind / f"{index}.png"), image.clip(0, 255).astype(np.uint8))
    return folder


@pytest.fixture(scope="module")
def teachers(faces, tmp_path_factory):
    """Settings that give the shipped recipes small teachers."""
    folder = tmp_path_factory.mktemp("teachers")
    torch.save(get_model("cnn_tiny", num_features=32).state_dict(), folder / "p.pt")
    ran = cakd("data", "train-autoencoder", str(faces), str(folder / "g.pt"), "--training-steps", "2", "--batch", "8")
    assert ran.code == 0, ran.err
    perceptual = ["teachers.perceptual.network=cnn_tiny", f"teachers.perceptual.weights={folder / 'p.pt'}"]
    return perceptual, [f"teachers.generative.weights={folder / 'g.pt'}"]


def arguments(data, output, recipe, *more, tested=("c",), **settings):
    chosen = {"val_targets": list(tested), **SMALL, **settings}
    sets = [part for key, value in chosen.items() for part in ("--set", f"{key}={value!r}")]
    given = ["--data", str(data), "--output", str(output), "--distill", str(recipe)]
    return ["train", "faces_cnn_tiny", *given, *sets, *map(str, more)]


def settings(recipe, teachers):
    chosen = teachers[0] if "one_teacher" in recipe else [*teachers[0], *teachers[1]]
    return [part for one in chosen for part in ("--recipe-set", one)]


@pytest.mark.parametrize("recipe", ["dtda", "ablations/dtda_no_attack", "ablations/dtda_one_teacher"])
def test_a_shipped_recipe_trains_and_leaves_a_plain_network(recipe, faces, teachers, tmp_path):
    ran = cakd(*arguments(faces, tmp_path / "out", recipe, *settings(recipe, teachers)))
    assert ran.code == 0, ran.err
    measured = json.loads((tmp_path / "out" / "result.json").read_text())["measured"]["c"]
    assert {"auc", "eer", "apcer", "bpcer", "hter", "threshold"} <= set(measured)
    network = get_model("cnn_tiny", num_features=2)
    network.load_state_dict(torch.load(tmp_path / "out" / "model.pt", weights_only=True), strict=True)
    found = measure_liveness(network, read_liveness(faces), ["a", "b"], ["c"])
    assert found.facts()["auc"] == pytest.approx(measured["auc"], abs=1e-6)
    evaluated = cakd("eval", "liveness", str(tmp_path / "out"), str(faces), "--dev", "a,b", "--test", "c")
    assert evaluated.code == 0, evaluated.err
    assert "ACER = HTER" in evaluated.out


def test_a_stopped_run_goes_on_to_the_same_weights(faces, teachers, tmp_path):
    def run(output, *more):
        given = settings("dtda", teachers)
        return cakd(*arguments(faces, tmp_path / output, "dtda", *given, *more, save_all_states=True))

    check_resumed(run, tmp_path)


def linear(seed=0):
    torch.manual_seed(seed)
    return nn.Linear(12, 3), torch.rand(6, 12) - 0.5


def entropy(logits):
    return -(logits.softmax(1) * logits.log_softmax(1)).sum(1).mean()


def test_the_attack_moves_a_linear_model_as_its_gradient_by_hand():
    answer, images = linear()
    weights, probabilities = answer.weight.detach(), answer(images).softmax(1).detach()
    domains = torch.tensor([0, 1, 2, 0, 1, 2])
    uniform = attacked(images, answer, 0.01)
    true = attacked(images, answer, 0.01, domains)
    towards = (probabilities - 1 / 3) @ weights
    away = (probabilities - nn.functional.one_hot(domains, 3)) @ weights
    torch.testing.assert_close(uniform, images - 0.01 * towards.sign())
    torch.testing.assert_close(true, images + 0.01 * away.sign())
    assert float((uniform - images).abs().max()) <= 0.01 + 1e-6
    assert answer.weight.grad is None
    assert not uniform.requires_grad


def test_the_entropy_rises_with_the_right_sign_and_falls_with_the_wrong_one():
    answer, images = linear(1)
    answer.weight.data *= 5
    moved = attacked(images, answer, 0.02)
    before, right, wrong = (entropy(answer(x)) for x in (images, moved, 2 * images - moved))
    assert wrong < before < right


def test_a_classifier_that_says_nothing_and_an_epsilon_of_0_move_nothing_and_values_stay_in_range():
    answer, images = linear()
    assert torch.equal(attacked(images, answer, 0.0), images)
    assert attacked(torch.ones(2, 12), answer, 0.5).abs().max() <= 1
    nn.init.zeros_(answer.weight)
    nn.init.zeros_(answer.bias)
    assert torch.equal(attacked(images, answer, 0.1), images)


def test_the_attack_changes_no_statistics_and_no_gradient():
    network = get_model("cnn_tiny", num_features=2).train()
    network(torch.rand(4, 3, 112, 112)).sum().backward()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    gradients = [weight.grad.clone() for weight in network.parameters()]
    with evaluating(network):
        attacked(torch.rand(4, 3, 112, 112), network, 0.01)
    assert network.training
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert all(torch.equal(w.grad, g) for w, g in zip(network.parameters(), gradients, strict=True))


def test_batches_have_equal_shares_of_domains_and_kinds_and_ranks_differ(faces):
    dataset = FacesOfKinds(read_liveness(faces), seed=0)
    ranks = [list(BalancedSampler(dataset, 2, rank, seed=5)) for rank in (0, 1)]
    for order in ranks:
        assert len(order) == 24
        counts = torch.bincount(dataset.codes[order[:12]], minlength=6)
        assert counts.tolist() == [2] * 6
    assert not set(ranks[0][:18]) & set(ranks[1][:18]), "three of seven of a cell each"
    sampler = BalancedSampler(dataset, 1, 0, seed=5)
    first = list(sampler)
    assert list(sampler) == first
    sampler.set_epoch(1)
    assert list(sampler) != first


def test_a_list_is_packed_with_its_polarity_said_and_never_guessed(faces, tmp_path):
    lines = [f"{d}/{k}/{i}.png {int(k == 'spoof')} {d} v{k}" for d in "ab" for k in ("live", "spoof") for i in range(3)]
    listed = tmp_path / "list.txt"
    listed.write_text("\n".join(str(faces) + "/" + line for line in lines))
    with pytest.raises(DataError, match="which label means live is not said; expected 0 or 1"):
        pack_liveness(listed, tmp_path / "packed")
    assert not (tmp_path / "packed").exists()
    packed = pack_liveness(listed, tmp_path / "packed", live=0)
    assert packed.live.tolist() == [1, 1, 1, 0, 0, 0] * 2
    assert set(packed.videos) == {"vlive", "vspoof"}
    assert packed.domains == ("a", "b")


def test_data_of_one_kind_or_one_domain_is_refused_before_anything_is_written(faces, tmp_path):
    for kind in ("live", "spoof"):
        (tmp_path / "one" / "a" / kind).mkdir(parents=True)
        (tmp_path / "one" / "a" / kind / "0.png").write_bytes((faces / "a" / kind / "0.png").read_bytes())
    line = error_line(cakd("data", "pack-liveness", str(tmp_path / "one"), str(tmp_path / "out")))
    assert "1 domain to learn from (a); expected at least 2" in line
    (tmp_path / "one" / "a" / "spoof" / "0.png").unlink()
    recipe = tmp_path / "r.yaml"
    recipe.write_text("task: liveness\n")
    line = error_line(cakd(*arguments(tmp_path / "one", tmp_path / "out", recipe, tested=())))
    assert "domain a has live faces only; expected live and spoof ones" in line
    assert not (tmp_path / "out").exists()
    with pytest.raises(EvaluationError, match="expected different domains on both sides"):
        measure_liveness(nn.Identity(), read_liveness(faces), ["a"], ["a"])


@pytest.mark.slow
def test_two_ranks_train_it_and_leave_one_student(faces, teachers, tmp_path):
    given = arguments(faces, tmp_path / "out", "dtda", *settings("dtda", teachers), batch_size=6, save_all_states=True)
    launch(2, tmp_path, given)
    check_one_student(tmp_path / "out")


@pytest.mark.upstream
@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["dtda", "ablations/dtda_one_teacher"])
def test_untouched_arcface_torch_trains_it(recipe, faces, teachers, tmp_path, arcface_torch):
    more = {"network": "r18", "optimizer": "adamw", "lr": 1e-3, "verbose": 1, "fp16": False, "val_targets": ["c"]}
    chosen = {**{key: value for key, value in SMALL.items() if key != "device"}, **more, "num_epoch": 1}
    sets = [part for key, value in chosen.items() for part in ("--set", f"{key}={value!r}")]
    torch.save(get_model("r18", num_features=32).state_dict(), tmp_path / "p.pt")
    given = ["teachers.perceptual.network=r18", f"teachers.perceptual.weights={tmp_path / 'p.pt'}"], teachers[1]
    where = ["--data", faces, "--host", arcface_torch, "--output", tmp_path / "out"]
    command = ["train", "configs/ms1mv3_mbf", "--distill", recipe, *where, *settings(recipe, given), *sets]
    launch(1, tmp_path, command)
    state = torch.load(tmp_path / "out" / "model.pt", weights_only=True)
    assert all(torch.isfinite(value).all() for value in state.values())
    get_model("r18", num_features=2).load_state_dict(state, strict=True)
    evaluated = cakd("eval", "liveness", str(tmp_path / "out"), str(faces), "--dev", "a,b", "--test", "c")
    assert evaluated.code == 0, evaluated.err


def test_without_epsilon_and_weights_it_is_plain_cross_entropy_training(faces, teachers, tmp_path, monkeypatch):
    """The domain classifier goes on learning beside, and changes no weight of the student."""
    # The norm by which gradients are clipped is that of all that learns, the classifier too.
    monkeypatch.setattr(train_v2, "_MAX_NORM", 1e9)
    plain = tmp_path / "plain.yaml"
    plain.write_text("task: liveness\n")
    zeros = ("task.epsilon=0", "losses.perceptual.weight=0", "losses.generative.weight=0")
    given = [part for one in zeros for part in ("--recipe-set", one)]
    for command in (
        arguments(faces, tmp_path / "plain", plain),
        arguments(faces, tmp_path / "zeros", "dtda", *settings("dtda", teachers), *given),
        arguments(faces, tmp_path / "taught", "dtda", *settings("dtda", teachers)),
    ):
        ran = cakd(*command)
        assert ran.code == 0, ran.err
    alone, zero, taught = (
        torch.load(tmp_path / name / "model.pt", weights_only=True) for name in ("plain", "zeros", "taught")
    )
    assert all(torch.equal(value, zero[key]) for key, value in alone.items())
    assert not all(torch.equal(value, taught[key]) for key, value in alone.items())


def test_both_readings_of_the_attack_train_other_networks(faces, tmp_path):
    states = []
    for reading in ("none", "uniform", "true"):
        recipe = tmp_path / f"{reading}.yaml"
        recipe.write_text(f'task: {{kind: liveness, attack: "{reading}", epsilon: 0.02}}\n')
        ran = cakd(*arguments(faces, tmp_path / reading, recipe))
        assert ran.code == 0, ran.err
        states.append(torch.load(tmp_path / reading / "model.pt", weights_only=True))
        assert all(torch.isfinite(value).all() for value in states[-1].values())
    for first, second in ((0, 1), (0, 2), (1, 2)):
        assert not all(torch.equal(value, states[second][key]) for key, value in states[first].items())
