"""Verification: equal to a plain reimplementation, to hand-made cases, and to known numbers on real faces."""

import numpy as np
import pytest
import torch
from torch import nn

from insightface_cakd.data.bins import VerificationSet, load_bin
from insightface_cakd.errors import EvaluationError
from insightface_cakd.evaluate.pairs.verification import (
    FARS,
    THRESHOLDS,
    accepted_share,
    embed_both,
    judge_folds,
    pair_distances,
    tar_at_far,
    verify,
)
from insightface_cakd.networks.models import load_onnx
from tests.evaluate.protocol import linear_embedder, random_pairs, slow_distances, slow_folds, slow_tar

CPU = torch.device("cpu")


@pytest.mark.parametrize("pairs", [10, 37, 60])
def test_the_result_is_that_of_plain_loops(pairs):
    faces = random_pairs(pairs, seed=pairs)
    embed, matrix = linear_embedder()
    result = verify(embed, faces)
    distances, xnorm = slow_distances(faces.images, matrix)
    accuracy, std, threshold = slow_folds(distances, faces.same)
    assert result.accuracy == pytest.approx(accuracy, abs=1e-12)
    assert result.std == pytest.approx(std, abs=1e-12)
    assert result.thresholds.mean() == pytest.approx(threshold, abs=1e-9)
    assert result.xnorm == pytest.approx(xnorm, rel=1e-6)
    assert result.same.tolist() == faces.same.tolist()
    for far, tar in result.tar_at_far.items():
        if tar is not None:
            assert tar == pytest.approx(slow_tar(distances, faces.same, far), abs=1e-12)


@pytest.mark.parametrize("batch_size", [1, 7, 64, 1000])
def test_the_batch_size_changes_nothing(batch_size):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 16))
    faces = random_pairs(33)
    assert verify(network, faces, batch_size=batch_size).tar_at_far == verify(network, faces).tar_at_far
    assert verify(network, faces, batch_size=batch_size).accuracy == verify(network, faces).accuracy


def test_each_fold_is_judged_by_the_first_threshold_that_is_best_on_the_others():
    # same pairs at 0.5, different at 2: every threshold in (0.5, 2] is perfect, and 0.51 is the first
    same = np.array([True, False] * 10)
    accuracies, thresholds = judge_folds(np.where(same, 0.5, 2.0), same)
    assert accuracies.tolist() == [1.0] * 10
    assert thresholds == pytest.approx(0.51)


def test_a_distance_at_the_threshold_is_not_accepted():
    distances, same = np.full(20, THRESHOLDS[100]), np.array([True] * 18 + [False] * 2)
    accuracies, thresholds = judge_folds(distances, same)
    assert thresholds.tolist() == [THRESHOLDS[101]] * 10
    assert accuracies.tolist() == [1.0] * 9 + [0.0]


def test_folds_are_contiguous_and_the_first_ones_are_longer():
    # 12 pairs: folds 0 and 1 have two pairs, the others one; the only wrong pair is the third, half of fold 1
    distances, same = np.full(12, 0.1), np.ones(12, bool)
    same[2] = False
    accuracies, _ = judge_folds(distances, same)
    assert accuracies.tolist() == [1.0, 0.5, *[1.0] * 8]


def test_collapsed_embeddings_give_the_majority_share():
    faces = VerificationSet(random_pairs(20).images, np.array([True] * 15 + [False] * 5))
    assert verify(lambda images: torch.ones(len(images), 4), faces).accuracy == pytest.approx(0.75)


def test_a_zero_embedding_has_no_direction_and_no_nan():
    assert pair_distances(np.array([[0.0, 0.0], [3.0, 4.0]])).tolist() == [1.0]


class TestTarAtFar:
    def test_by_hand(self):
        # impostors 1.0, 1.1, ..., 1.9; at FAR 0.1 one may be accepted, so the threshold goes up to 1.1
        impostors = 1 + np.arange(10) / 10
        genuine = np.array([0.5, 1.05, 1.1, 1.2])
        distances, same = np.concatenate([genuine, impostors]), np.array([True] * 4 + [False] * 10)
        assert tar_at_far(distances, same)[1e-1] == 0.5

    def test_is_never_that_of_a_higher_false_accept_rate(self):
        # 15 impostors: 1 of them is 0.067, 2 are 0.133, nearer to 0.1 for some; the strict reading allows 1
        impostors = 1 + np.arange(15) / 10
        genuine = np.array([1.05, 1.15])
        distances, same = np.concatenate([genuine, impostors]), np.array([True] * 2 + [False] * 15)
        assert tar_at_far(distances, same)[1e-1] == 0.5

    def test_equal_impostors_are_accepted_together_or_not_at_all(self):
        assert accepted_share(np.array([0.5, 1.5]), np.array([1.0, 1.0, 2.0]), false_accepts=1) == 0.5

    @pytest.mark.parametrize(("impostors", "supported"), [(9, 0), (10, 1), (100, 2), (300, 2), (1000, 3), (3000, 3)])
    def test_needs_one_over_far_impostors(self, impostors, supported):
        distances = np.linspace(1, 2, impostors + 5)
        rates = tar_at_far(distances, np.arange(impostors + 5) < 5)
        assert [far for far, tar in rates.items() if tar is not None] == list(FARS[:supported])


class TestMistakes:
    def test_fewer_than_ten_pairs(self):
        faces = VerificationSet(random_pairs(9).images, np.arange(9) < 4)
        with pytest.raises(EvaluationError, match="4 same and 5 different pairs; expected both kinds and at least 10"):
            verify(linear_embedder()[0], faces)

    @pytest.mark.parametrize("same", [True, False])
    def test_pairs_of_one_kind(self, same):
        with pytest.raises(EvaluationError, match="expected both kinds"):
            verify(linear_embedder()[0], VerificationSet(random_pairs(20).images, np.full(20, same)))

    def test_an_embedding_that_is_not_finite(self):
        def embed(images):
            rows = images.flatten(1)[:, :4].clone()
            rows[0, 1] = torch.nan
            return rows

        with pytest.raises(EvaluationError, match="model: 2 of 24 embeddings are not finite; expected numbers"):
            verify(embed, random_pairs(12), batch_size=16)

    @pytest.mark.parametrize(
        ("embed", "said"),
        [
            (lambda images: images, r"gave \(20, 3, 8, 8\) for 20 images"),
            (lambda images: images.flatten(1)[:1], r"gave \(1, 192\) for 20 images"),
            (lambda images: images.flatten(1)[:, :0], r"gave \(20, 0\) for 20 images"),
            (lambda images: images.mean(), r"gave \(\) for 20 images"),
            (lambda images: (images.flatten(1), {}), r"gave tuple for 20 images"),
        ],
    )
    def test_an_output_that_is_no_embedding(self, embed, said):
        with pytest.raises(EvaluationError, match=rf"model: {said}; expected a tensor \(20, D\)"):
            verify(embed, random_pairs(10))


def test_the_model_gets_rgb_in_minus_one_to_one_and_then_its_mirror_image():
    seen = []

    def embed(images):
        seen.append(images.clone())
        return torch.ones(len(images), 2)

    images = np.zeros((20, 8, 8, 3), np.uint8)
    images[0, :, 0, 0] = 255  # the left column of the first image is red
    images[1:, 7, 7, 2] = np.arange(1, 20)  # no image is there twice
    embed_both(embed, images, CPU, batch_size=20)
    plain, mirrored = seen
    assert plain.shape == (20, 3, 8, 8)
    assert plain.dtype == torch.float32
    assert plain[0, 0, :, 0].tolist() == [1.0] * 8
    assert plain[0, 1:].eq(-1).all()
    assert mirrored[0, 0, :, -1].tolist() == [1.0] * 8
    assert mirrored[0, 0, :, :-1].eq(-1).all()


def test_an_image_of_several_pairs_is_embedded_once():
    batches = []

    def embed(images):
        batches.append(len(images))
        return images.flatten(1)[:, -4:]

    faces = np.random.default_rng(5).integers(0, 256, (3, 8, 8, 3)).astype(np.uint8)
    rows = [0, 1, 0, 2, 1, 2, 0, 1]
    plain, mirrored = embed_both(embed, faces[rows], CPU, batch_size=2)
    assert batches == [2, 2, 1, 1]
    pixels = (faces[rows].astype(np.float64) / 255 - 0.5) / 0.5
    np.testing.assert_allclose(plain, pixels[:, -1, -4:, -1], atol=1e-6)
    np.testing.assert_allclose(mirrored, pixels[:, -1, 3::-1, -1], atol=1e-6)


def test_a_network_is_in_eval_mode_meanwhile_and_gets_its_modes_back():
    network = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(192), nn.Dropout(0.9), nn.Linear(192, 4))
    network.train()
    network[1].eval()  # a frozen part
    first = verify(network, random_pairs(10))
    assert [part.training for part in network] == [True, False, True, True]
    assert int(network[1].num_batches_tracked) == 0
    assert verify(network, random_pairs(10)).distances.tolist() == first.distances.tolist()
    assert network[3].weight.grad is None


def test_progress_counts_images():
    seen = []
    verify(
        linear_embedder()[0], random_pairs(10), batch_size=8, progress=lambda done, total: seen.append((done, total))
    )
    assert seen == [(8, 20), (16, 20), (20, 20)]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_device_changes_nothing():
    embed, _ = linear_embedder()
    faces = random_pairs(200)
    assert verify(embed, faces, "cuda").accuracy == pytest.approx(verify(embed, faces).accuracy, abs=0.011)


# known numbers of these files: data/models/README.md
@pytest.mark.parametrize(
    ("model", "accuracy", "std", "at_1_percent", "without_false_accept"),
    [
        ("pixels_floor", 0.7083, 0.0716, 0.053, 0.033),
        pytest.param("edgeface_xxs", 0.9917, 0.0083, 0.987, 0.987, marks=pytest.mark.slow),
        pytest.param("edgeface_xs", 0.9933, 0.0082, 0.993, 0.990, marks=pytest.mark.slow),
    ],
)
def test_known_recognisers_on_real_faces(shared_data, model, accuracy, std, at_1_percent, without_false_accept):
    faces = load_bin(shared_data / "lfw_dev.bin")
    embed = load_onnx(shared_data / "models" / f"{model}.onnx", CPU)
    result = verify(embed, faces)
    assert result.accuracy == pytest.approx(accuracy, abs=5e-5)
    assert result.std == pytest.approx(std, abs=5e-5)
    assert result.tar_at_far[1e-2] == pytest.approx(at_1_percent, abs=5e-4)
    assert result.tar_at_far[1e-3] is None  # 300 impostors
    plain, mirrored = embed_both(embed, faces.images, CPU, 50)
    distances = pair_distances(plain + mirrored)
    found = accepted_share(distances[faces.same], distances[~faces.same], false_accepts=0)
    assert found == pytest.approx(without_false_accept, abs=5e-4)
