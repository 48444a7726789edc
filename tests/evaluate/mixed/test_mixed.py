"""Mixed enrolment: scores and ranks against plain loops, alone as the protocol has it, and what cannot be compared."""

import math

import numpy as np
import pytest
import torch

from insightface_cakd.data.bins import load_bin
from insightface_cakd.errors import EvaluationError
from insightface_cakd.evaluate.identify.folders import Faults
from insightface_cakd.evaluate.mixed.mixed import (
    Combination,
    Combinations,
    Embedded,
    mixed_distances,
    mixed_ranks,
    require_one_space,
)
from insightface_cakd.evaluate.mixed.search import search_people
from insightface_cakd.evaluate.mixed.sets import mixed_set, mixed_sets
from insightface_cakd.evaluate.pairs.verification import verify
from tests.data.record_files import people_folder
from tests.evaluate.verification_files import not_a_number, pooled, run_on_cpu, turned, write_set


def rows(count, width=6, seed=0):
    return np.random.default_rng(seed).normal(size=(count, width))


def cosine(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True)) / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))


def test_distances_are_those_of_a_plain_loop():
    gallery, probe = rows(9), rows(9, seed=1)
    expected = [cosine(a, b) for a, b in zip(gallery, probe, strict=True)]
    np.testing.assert_allclose(mixed_distances(gallery, probe), [2 - 2 * one for one in expected])
    assert mixed_distances(np.zeros((1, 6)), probe[:1]).tolist() == [1.0]


def test_ranks_count_who_is_as_near():
    gallery, probe, own = rows(7), rows(2500, seed=1), np.arange(2500) % 7
    gallery[5] = 2 * gallery[3]
    found = mixed_ranks(gallery, probe, own)
    for place in range(0, 2500, 251):
        near = [cosine(one, probe[place]) for one in gallery]
        mine = near[own[place]]
        others = [score for number, score in enumerate(near) if number != own[place]]
        assert found[place] == sum(score > mine - 1e-12 for score in others)
    assert (found[own == 3] > 0).all(), "an equal entry counts against it"


def test_the_four_cases_are_both_alone_and_both_mixed():
    teacher, student = (Embedded(name, rows(3, seed=n), rows(4, seed=n + 5)) for n, name in enumerate(("old", "new")))
    cases = Combinations.of(teacher, student, lambda old, new: Combination(old.name, new.name))
    assert [one.title for one in cases] == [
        "old alone",
        "new alone",
        "gallery old, probe new",
        "gallery new, probe old",
    ]
    assert cases.kept == Combination("old", "new")


@pytest.mark.parametrize(
    ("student", "message"),
    [
        (
            Embedded("new", rows(3, 5), rows(4, 5)),
            r"old gives 6 numbers a face, new 5; expected equal widths\. Train the",
        ),
        (Embedded("old", rows(3), rows(4)), "both models are named old; expected two names"),
        (Embedded("new", rows(3), rows(5)), "old embedded 4 faces, new 5; expected the same faces"),
        (Embedded("new", rows(3) * np.nan, rows(4)), "3 embeddings of new are not finite; expected numbers"),
    ],
)
def test_embeddings_that_cannot_be_compared(student, message):
    with pytest.raises(EvaluationError, match=rf"mixed enrolment: {message}"):
        require_one_space(Embedded("old", rows(3), rows(4)), student)


class TestSets:
    @pytest.fixture(scope="class")
    def path(self, tmp_path_factory):
        return write_set(tmp_path_factory.mktemp("mixed") / "dev.bin", 40, seed=4)

    def test_alone_is_the_protocol(self, path):
        (found,) = _sets(("old", pooled()), ("new", turned()), [path], run_on_cpu())
        expected = verify(pooled(), load_bin(path))
        assert found.cases.teacher_alone.verified.accuracy == pytest.approx(expected.accuracy)
        assert found.cases.teacher_alone.kept_accuracy == pytest.approx(expected.accuracy)
        assert found.cases.teacher_alone.verified.tar_at_far == expected.tar_at_far
        # Turned, the space is another, and distances in it are the same.
        assert found.cases.student_alone.verified.accuracy == pytest.approx(expected.accuracy)

    def test_models_in_one_space_lose_nothing_and_in_two_they_lose_it_all(self, path):
        (same,) = _sets(("old", pooled()), ("new", pooled(gain=2)), [path], run_on_cpu())
        assert same.loss == 0
        assert "costs 0.00 points [0.00, 0.00]" in same.sentence()
        assert "these data show no need to enrol again" in same.sentence()
        (other,) = _sets(("old", pooled()), ("new", turned()), [path], run_on_cpu())
        assert other.loss > 0.2
        assert other.loss_interval.low > 0
        assert other.loss == pytest.approx(
            other.cases.student_alone.verified.accuracy - other.cases.kept.verified.accuracy
        )
        assert "the loss is real: enrol again, or accept it" in other.sentence()

    def test_the_kept_threshold_is_the_teachers(self, path):
        pairs = load_bin(path)
        embeddings = pooled()(_batch(pairs.images)).numpy() - 127.5
        shifted = embeddings + 1000.0  # all faces are alike, the teacher's threshold takes all for the same
        found = mixed_set("dev", pairs, ("old", embeddings), ("new", shifted))
        alone = found.cases.student_alone
        expected = [
            (distance < threshold) == same
            for distance, threshold, same in zip(
                alone.verified.distances,
                np.repeat(found.cases.teacher_alone.verified.thresholds, 4),
                pairs.same,
                strict=True,
            )
        ]
        assert alone.kept_accuracy == pytest.approx(np.mean(expected)) == 0.5
        assert alone.verified.accuracy > 0.5

    def test_batches_and_repetition_change_nothing(self, path):
        runs = [mixed_sets(("a", pooled()), ("b", turned()), [path], run_on_cpu(batch)).facts() for batch in (1, 7, 7)]
        assert runs[1] == runs[2]
        assert runs[0][0]["loss"] == runs[1][0]["loss"]
        assert [case["accuracy"] for case in runs[0][0]["cases"]] == [case["accuracy"] for case in runs[1][0]["cases"]]

    def test_the_table(self, path):
        found = mixed_sets(("a", pooled()), ("b", turned()), [path], run_on_cpu()).rows()
        assert [row["enrolment"] for row in found] == ["a alone", "b alone", "gallery a, probe b", "gallery b, probe a"]
        assert all("@FAR=0.1" in row["TAR"] for row in found)

    def test_models_that_do_not_fit(self, path):
        with pytest.raises(EvaluationError, match="old gives 48 numbers a face, new 12; expected equal widths"):
            mixed_sets(("old", pooled()), ("new", pooled(2)), [path], run_on_cpu())
        with pytest.raises(EvaluationError, match="model: 80 of 80 embeddings are not finite"):
            mixed_sets(("old", pooled()), ("new", not_a_number), [path], run_on_cpu())


def _sets(*given):
    return mixed_sets(*given).sets


def _batch(images):
    return torch.from_numpy(images).permute(0, 3, 1, 2).float()


class TestPeople:
    @pytest.fixture
    def folder(self, tmp_path):
        return people_folder(tmp_path / "people", {"a": 3, "b": 1, "c": 2})

    def test_the_first_picture_is_enrolled_and_the_others_ask(self, folder):
        found = search_people(("old", pooled()), ("new", turned()), folder, run_on_cpu(), Faults(0))
        assert found.enrolled == 3
        assert {len(one.first) for one in found.found} == {3}
        facts = found.facts()
        assert facts["rank1"][0]["rank1"] == facts["rank1"][1]["rank1"]
        assert [row["probes"] for row in found.rows()] == ["3"] * 4
        assert found.lines()[0].startswith("people: keeping the gallery of old under probes of new costs")

    def test_a_picture_that_cannot_be_read_is_left_out_for_both(self, folder):
        (folder / "a" / "0.jpg").write_bytes(b"no image")
        faults = Faults(1)
        found = search_people(("old", pooled()), ("new", turned()), folder, run_on_cpu(), faults)
        assert (found.enrolled, len(found.found.kept.first)) == (3, 2)
        assert len(faults.lines) == 1

    def test_nobody_with_two(self, tmp_path):
        people_folder(tmp_path / "people", {"a": 1, "b": 1})
        with pytest.raises(EvaluationError, match="people: 2 people, none with two pictures; expected one to enrol"):
            search_people(("old", pooled()), ("new", turned()), tmp_path / "people", run_on_cpu(), Faults(0))
