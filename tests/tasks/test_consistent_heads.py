"""CKD's two classifiers: the values of the reference, the gradient in closed form, and several ranks."""

import numpy as np
import pytest
import torch

from insightface_cakd.errors import RunError
from insightface_cakd.runtime.ranks import rank, world_size
from insightface_cakd.tasks.consistent_heads import ConsistentHeads, LinearClassifier, sharded_cross_entropy
from tests.ranks import QUICK_RANKS, run_ranks

STRIP = torch.tensor([[8.0, 2, 1, 0, -1], [1, 0, 3, 5, 2]], dtype=torch.float64)
FACE = torch.tensor([[10.0, 4, 0, 1, -2], [0, 1, 2, 9, 3]], dtype=torch.float64)
LABELS = torch.tensor([0, 3])
WIDTH, CLASSES, BATCH = 6, 7, 4


def logits_as_embeddings(**options: float) -> ConsistentHeads:
    """Return heads whose classifiers are the identity, so that answers are logits."""
    heads = ConsistentHeads(5, 5, **{"consistency": 1.0, "temperature": 2.5, "both": True, **options})
    for classifier in heads.classifiers.values():
        classifier.weight.data = torch.eye(5)
    return heads.double()


def softmax(z: np.ndarray) -> np.ndarray:
    powers = np.exp(z - z.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def test_the_values_of_the_reference():
    heads = logits_as_embeddings()
    loss = heads(torch.stack([FACE, STRIP], dim=1), LABELS)
    expected = {"ce_face": 0.003246154, "ce_strip": 0.097303934, "kl_to_strip": 1.168127432, "kl_to_face": 0.905540561}
    assert {name: float(value) for name, value in heads.shown.items()} == pytest.approx(expected, abs=5e-10)
    assert float(loss.detach()) == pytest.approx(2.174218081, abs=5e-10)


def test_the_gradient_has_its_closed_form_with_both_gradients_stopped():
    answers = torch.stack([FACE, STRIP], dim=1).requires_grad_(True)
    logits_as_embeddings()(answers, LABELS).backward()
    one_hot = np.eye(5)[LABELS]
    for own, other, found in ((FACE, STRIP, answers.grad[:, 0]), (STRIP, FACE, answers.grad[:, 1])):
        z, other_z = own.numpy(), other.numpy()
        expected = (softmax(z) - one_hot) / 2 + 2.5 * (softmax(z / 2.5) - softmax(other_z / 2.5)) / 2
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-10)


def test_without_consistency_two_cross_entropies_remain():
    loss = logits_as_embeddings(consistency=0.0)(torch.stack([FACE, STRIP], dim=1), LABELS)
    assert float(loss.detach()) == pytest.approx(0.003246154 + 0.097303934, rel=1e-5)


def test_equal_branches_have_nothing_to_tell_each_other():
    heads = logits_as_embeddings()
    heads(torch.stack([STRIP, STRIP], dim=1), LABELS)
    assert float(heads.shown["kl_to_strip"]) == float(heads.shown["kl_to_face"]) == 0


def test_one_branch_has_one_classifier():
    heads = logits_as_embeddings(both=False)
    assert set(heads.state_dict()) == {"classifiers.strip.weight", "classifiers.strip.bias"}
    assert float(heads(STRIP, LABELS).detach()) == pytest.approx(0.097303934, rel=1e-5)


def test_cross_entropy_is_finite_at_extreme_logits_and_a_single_row():
    logits = torch.tensor([[1e4, -1e4, 0.0]], requires_grad=True)
    loss = sharded_cross_entropy(logits, torch.tensor([1]))
    loss.backward()
    assert float(loss.detach()) == pytest.approx(2e4)
    assert logits.grad.isfinite().all()


def test_the_classifiers_start_small_and_different_with_biases_of_zero():
    torch.manual_seed(0)
    heads = ConsistentHeads(64, 100, 1.0, 2.5, both=True)
    face, strip = heads.classifiers["face"], heads.classifiers["strip"]
    for classifier in (face, strip):
        assert float(classifier.weight.detach().std()) == pytest.approx(0.01, rel=0.05)
        assert not classifier.bias.any()
    assert not torch.equal(face.weight, strip.weight)


def joint_batch(world: int) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(5)
    answers = torch.randn(world * BATCH, 2, WIDTH, generator=draw) * 3
    return answers, torch.randint(CLASSES, (world * BATCH,), generator=draw)


def on_a_rank(world: int) -> dict[str, torch.Tensor]:
    """Return the loss and this rank's gradients for its part of the joint batch."""
    torch.manual_seed(1)
    heads = ConsistentHeads(WIDTH, CLASSES, 1.0, 2.5, both=True)
    for classifier in heads.classifiers.values():
        start, end = classifier.class_start, classifier.class_start + classifier.num_local
        classifier.weight.data *= 50
        classifier.bias.data = torch.linspace(-1, 1, CLASSES)[start:end]
    answers, labels = joint_batch(world)
    mine = slice(BATCH * rank(), BATCH * (rank() + 1)) if world_size() > 1 else slice(None)
    own = answers[mine].clone().requires_grad_(True)
    loss = heads(own, labels[mine])
    loss.backward()
    gradients = {name: weight.grad for name, weight in heads.named_parameters()}
    return {"loss": loss.detach(), "answers": own.grad, **heads.shown, **gradients}


@pytest.mark.parametrize("world", QUICK_RANKS)
def test_several_ranks_have_the_loss_and_gradients_of_one_process(world):
    ranks, whole = run_ranks(on_a_rank, world, world), on_a_rank(world)
    for name, value in whole.items():
        parts = [one[name] for one in ranks]
        if value.ndim == 0:
            assert all(float(part) == pytest.approx(float(value), rel=1e-5) for part in parts), name
            continue
        # DDP averages over ranks what reaches the network; each rank has its own classes of the classifiers.
        joined = torch.cat(parts) / (world if name == "answers" else 1)
        torch.testing.assert_close(joined, value, rtol=1e-5, atol=1e-6)


def too_many_ranks() -> str:
    with pytest.raises(RunError) as refused:
        LinearClassifier(4, 1)
    return str(refused.value)


@pytest.mark.slow
def test_fewer_classes_than_ranks_are_refused():
    assert all("num_classes is 1 on 2 ranks" in line for line in run_ranks(too_many_ranks, 2))
