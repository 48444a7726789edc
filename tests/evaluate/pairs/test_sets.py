"""Many sets and variants in one table; sets that cannot be used are found before the first is measured."""

import json

import numpy as np
import pytest
import torch

from insightface_cakd.data.bins import load_bin
from insightface_cakd.errors import EvaluationError
from insightface_cakd.evaluate.pairs.set_tables import SetResults
from insightface_cakd.evaluate.pairs.sets import find_sets, measure_sets, thinned, varied_sets
from insightface_cakd.evaluate.pairs.variants import Variant, parse_variants
from insightface_cakd.evaluate.pairs.verification import judge, verify
from tests.evaluate.verification_files import not_a_number, pooled, run_on_cpu, write_set


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("sets")
    write_set(place / "b.bin", 20, seed=1)
    write_set(place / "a.bin", 30, seed=2)
    (place / "train.rec").write_bytes(b"")
    return place


def test_a_folder_stands_for_its_sets_by_name(folder, tmp_path):
    other = write_set(tmp_path / "c.bin")
    assert list(find_sets([other, folder])) == ["c", "a", "b"]
    with pytest.raises(EvaluationError, match=r"b\.bin: another set, .*b\.bin, has the same name; expected different"):
        find_sets([folder, folder / "b.bin"])
    (tmp_path / "none").mkdir()
    with pytest.raises(EvaluationError, match=r"none: a folder without \.bin files; expected verification sets"):
        find_sets([tmp_path / "none"])


def test_the_numbers_are_those_of_the_protocol(folder):
    for result in measure_sets(pooled(), [folder], parse_variants(()), run_on_cpu()):
        expected = verify(pooled(), load_bin(folder / f"{result.name}.bin"))
        assert result.verified.accuracy == pytest.approx(expected.accuracy)
        assert result.verified.std == pytest.approx(expected.std)
        assert result.xnorm == pytest.approx(expected.xnorm)
        assert result.verified.tar_at_far == expected.tar_at_far
        assert result.interval.low <= result.verified.accuracy <= result.interval.high


def test_batches_and_repetition_change_nothing(folder):
    runs = [
        SetResults(measure_sets(pooled(), [folder], parse_variants(["all"]), run_on_cpu(batch))).facts()
        for batch in (1, 7, 64, 64)
    ]
    assert runs[0] == runs[1] == runs[2] == runs[3]
    assert len(runs[0]) == 12
    assert json.loads(json.dumps(runs[0])) == runs[0]


def test_face_bn_is_measured_beside_the_plain_result_and_does_not_depend_on_the_batch_size(tmp_path):
    place = write_set(tmp_path / "a.bin", 70)
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 6, 9, 7),
        torch.nn.BatchNorm2d(6),
        torch.nn.ReLU(),
        torch.nn.Flatten(),
        torch.nn.LazyLinear(8),
    )
    network(torch.rand(4, 3, 112, 112))
    network.eval()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    runs = [measure_sets(network, [place], parse_variants(["lowres:14"], 0.5), run_on_cpu(batch)) for batch in (7, 64)]
    assert [one.variant for one in runs[0]] == ["lowres:14", "lowres:14, FaceBN 0.5"]
    assert [one.face_bn for one in runs[0]] == [0, 0.5]
    plain, adapted = runs[0]
    (alone,) = measure_sets(network, [place], parse_variants(["lowres:14"]), run_on_cpu())
    np.testing.assert_allclose(plain.verified.distances, alone.verified.distances, atol=1e-6)
    assert not np.allclose(adapted.verified.distances, plain.verified.distances)
    assert np.array_equal(adapted.verified.distances, runs[1][1].verified.distances)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert "FaceBN (AIRD-style)" in SetResults(runs[0]).text()
    assert "FaceBN" not in SetResults([alone]).text()


def test_face_bn_of_a_share_of_nothing_is_the_plain_result(tmp_path):
    """Every row comes back in its place, with a last batch that had to be filled up."""
    place, network = write_set(tmp_path / "a.bin", 50), torch.nn.Sequential(torch.nn.Flatten(), torch.nn.LazyLinear(4))
    network(torch.rand(2, 3, 112, 112))
    network.append(torch.nn.BatchNorm1d(4)).eval()
    plain, tiny = measure_sets(network, [place], [Variant("plain"), Variant("same", face_bn=1e-12)], run_on_cpu())
    np.testing.assert_allclose(tiny.verified.distances, plain.verified.distances, atol=1e-5)


def test_face_bn_is_refused_for_a_model_without_batch_norms(folder):
    """Before anything is measured: the set is not even opened."""
    with pytest.raises(EvaluationError, match=r"^--face-bn: the model has no batch norm"):
        measure_sets(pooled(), [folder / "absent.bin"], parse_variants((), 0.5), run_on_cpu())


def test_a_mirrored_probe_leaves_no_trace_in_the_sum_but_does_in_flipped(folder):
    """The fields of `pooled` are not alike on both sides."""
    plain, single, flipped = measure_sets(
        pooled(), [folder / "a.bin"], parse_variants(["plain", "single", "flipped"]), run_on_cpu()
    )
    assert flipped.verified.accuracy < single.verified.accuracy
    mirrored = load_bin(folder / "a.bin")
    mirrored.images[1::2] = mirrored.images[1::2, :, ::-1]
    assert verify(pooled(), mirrored).accuracy == pytest.approx(plain.verified.accuracy)


def test_the_table_has_a_dash_and_a_sentence_where_a_rate_is_not_supported(folder):
    results = measure_sets(pooled(), [folder], parse_variants(["plain", "masked"]), run_on_cpu())
    found = SetResults(results)
    rows = found.rows()
    assert [(row["set"], row["variant"]) for row in rows] == [
        ("a", "plain"), ("a", "masked"), ("b", "plain"), ("b", "masked")
    ]  # fmt: skip
    assert rows[0]["TAR@FAR=0.1"] != "-"
    assert "TAR@FAR=0.01" not in rows[0]
    assert found.lines()[:-1] == [
        "a: not measured at FAR=0.01, 0.001, 0.0001, 1e-05, 1e-06: 15 impostor pairs support no FAR below 0.067.",
        "b: not measured at FAR=0.01, 0.001, 0.0001, 1e-05, 1e-06: 10 impostor pairs support no FAR below 0.1.",
    ]
    few, many = (judge(np.linspace(0, 4, count), np.arange(count) % 2 == 0, "x") for count in (18, 400))
    assert few.tar_at_far[0.1] is None
    assert many.tar_at_far[0.01] is not None
    assert "variant" not in SetResults(results[:1]).rows()[0]


@pytest.mark.parametrize("kind", [True, False])
def test_a_set_of_one_kind_is_found_before_the_first_is_measured(kind, folder, tmp_path):
    bad = write_set(tmp_path / "z.bin", same=[kind] * 12)
    asked = []

    def embed(images):
        asked.append(len(images))
        return pooled()(images)

    with pytest.raises(EvaluationError, match=r"z\.bin: \d+ same and \d+ different pairs; expected both kinds"):
        measure_sets(embed, [folder, bad], parse_variants(()), run_on_cpu())
    assert asked == []


def test_embeddings_that_are_no_numbers(folder):
    with pytest.raises(EvaluationError, match=r"model: 60 of 60 embeddings are not finite; expected numbers"):
        measure_sets(not_a_number, [folder], parse_variants(()), run_on_cpu())


def test_some_pairs_evenly_spread(folder):
    ((_, _, pairs),) = varied_sets([folder / "a.bin"], parse_variants(()))
    few = thinned(pairs, 11)
    assert few.same.tolist() == pairs.same[::3].tolist()
    assert np.array_equal(few.images[2:4], pairs.images[6:8])
    assert thinned(pairs, 30) is pairs
    assert thinned(pairs, 15) is pairs, "every second is of one kind"
    assert thinned(pairs, 5) is pairs, "too few would be left"
