"""Identification among distractors: against plain loops, whatever the pieces; folders that cannot be searched."""

import math

import numpy as np
import pytest

from insightface_cakd.errors import DataError, EvaluationError
from insightface_cakd.evaluate.identify.folders import (
    Faults,
    find_pictures,
    identify_folders,
)
from insightface_cakd.evaluate.identify.protocol import TopScores, cut, growing, identify
from tests.data.record_files import jpeg, people_folder
from tests.evaluate.verification_files import not_a_number, pooled, run_on_cpu

PEOPLE = [0, 0, 0, 1, 1, 2, 3, 3]


@pytest.fixture(scope="module")
def rows():
    random = np.random.default_rng(0)
    centres = random.normal(size=(4, 5))
    return centres[PEOPLE] + random.normal(size=(8, 5)), random.normal(size=(230, 5))


def cosine(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True)) / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))


def slow_rank1(probes, people, distractors):
    """Return the share of ordered pairs of one person that are nearer than all distractors."""
    found = [
        cosine(probes[i], probes[j]) > max(cosine(probes[i], one) for one in distractors)
        for i in range(len(probes))
        for j in range(len(probes))
        if i != j and people[i] == people[j]
    ]
    return sum(found) / len(found), len(found)


def slow_tar(probes, people, distractors, far):
    """Return the largest TAR of a threshold that at most a share `far` of (probe, distractor) scores exceed."""
    asked = [i for i in range(len(probes)) if people.count(people[i]) > 1]
    impostors = [cosine(probes[i], one) for i in asked for one in distractors]
    genuine = [cosine(probes[i], probes[j]) for i in asked for j in asked if i != j and people[i] == people[j]]
    best = 0.0
    for limit in [*impostors, *genuine]:
        if sum(score > limit for score in impostors) <= far * len(impostors) + 1e-9:
            best = max(best, sum(score > limit for score in genuine) / len(genuine))
    return best


def test_rank_1_and_tar_are_those_of_a_plain_loop(rows):
    probes, distractors = rows
    found = identify(probes, PEOPLE, [distractors], 230)
    assert [one.distractors for one in found.ranked] == [10, 100, 230]
    for one in found.ranked:
        share, pairs = slow_rank1(probes, PEOPLE, distractors[: one.distractors])
        assert one.rank1 == pytest.approx(share)
        assert one.interval.low <= one.rank1 <= one.interval.high
    assert (found.pairs, found.people, found.impostors) == (pairs, 3, 7 * 230)
    assert found.tar[1e-2] == pytest.approx(slow_tar(probes, PEOPLE, distractors, 1e-2))
    assert found.tar[1e-3] == pytest.approx(slow_tar(probes, PEOPLE, distractors, 1e-3))
    assert found.tar[1e-4] is None


@pytest.mark.parametrize("size", [1, 7, 10, 229])
def test_the_pieces_of_the_distractors_change_nothing(rows, size, monkeypatch):
    probes, distractors = rows
    whole = identify(probes, PEOPLE, [distractors], 230)
    pieces = [distractors[start : start + size] for start in range(0, 230, size)]
    monkeypatch.setattr("insightface_cakd.evaluate.identify.protocol.SCORES", 50)
    found = identify(probes, PEOPLE, iter(pieces), 230)
    assert [one.rank1 for one in found.ranked] == [one.rank1 for one in whole.ranked]
    assert found.tar == whole.tar


def test_equal_embeddings_find_nobody():
    found = identify(np.ones((4, 3)), [0, 0, 1, 1], [np.ones((20, 3))], 20)
    assert [one.rank1 for one in found.ranked] == [0.0, 0.0]


def test_steps_and_marks():
    assert growing(5) == [5]
    assert growing(10) == [10]
    assert growing(101) == [10, 100, 101]
    pieces = [np.zeros((3, 1)), np.zeros((9, 1)), np.zeros((1, 1))]
    assert [(mark, len(piece)) for mark, piece in cut(pieces, [10, 13])] == [(None, 3), (10, 7), (None, 2), (13, 1)]


def test_the_highest_scores_survive_any_order():
    scores = np.random.default_rng(0).permutation(np.r_[np.arange(990), [989] * 10]).astype(float)
    kept = TopScores((0.05, 1e-3, 1e-4), 1000)
    for piece in np.array_split(scores, 37):
        kept.add(piece)
    genuine = np.arange(1000.0)
    expected = np.sort(scores)
    assert kept.tar(genuine) == {
        0.05: float((genuine > expected[-51]).mean()),
        1e-3: float((genuine > expected[-2]).mean()),
        1e-4: None,
    }


@pytest.mark.parametrize(
    ("probes", "people", "distractors", "message"),
    [
        (np.ones((2, 3)), [0, 1], np.ones((5, 3)), "nobody among the probes has two pictures"),
        (np.ones((2, 3)), [0, 0], np.ones((0, 3)), "no distractors; expected at least one"),
        (np.ones((2, 3)), [0, 0], np.ones((5, 4)), "probes have 3 numbers, distractors 4; expected equal widths"),
        (np.full((2, 3), np.nan), [0, 0], np.ones((5, 3)), "2 of 2 embeddings of probes are not finite"),
        (np.ones((2, 3)), [0, 0], np.full((5, 3), np.inf), "5 of 5 embeddings of distractors are not finite"),
    ],
)
def test_embeddings_that_cannot_be_searched(probes, people, distractors, message):
    with pytest.raises(EvaluationError, match=rf"identification: {message}"):
        identify(probes, people, [distractors], len(distractors))


class TestFolders:
    @pytest.fixture
    def here(self, tmp_path):
        people_folder(tmp_path / "probes", {"a": 3, "b": 2, "c": 1})
        people_folder(tmp_path / "strangers", {"x": 8})
        for number in range(5):
            (tmp_path / "strangers" / f"{number}.jpg").write_bytes(jpeg(9000 + number))
        return tmp_path

    def measure(self, here, batch=8, limit=0, embed=None):
        pictures, faults = find_pictures(here / "probes", here / "strangers"), Faults(limit)
        return identify_folders(embed or pooled(), pictures, run_on_cpu(batch), faults), pictures

    def test_flat_and_deep_distractors_are_found_and_doubles_left_out(self, here):
        found, pictures = self.measure(here)
        # x/0.jpg ... x/2.jpg are a/0.jpg ... a/2.jpg: both folders are their parent's first.
        assert (len(pictures.distractors), pictures.doubles, pictures.alone) == (10, 3, 1)
        assert [row["distractors"] for row in found.rows()] == ["10"]
        lines = " ".join(found.lines())
        for said in (
            "2 people, 8 pairs",
            "1 people with one picture left out",
            "3 distractors left out",
            "50 impostor",
        ):
            assert said in lines

    def test_batches_and_repetition_change_nothing(self, here):
        facts = [self.measure(here, batch)[0].facts() for batch in (1, 7, 64, 64)]
        assert facts[0] == facts[1] == facts[2] == facts[3]

    def test_pictures_that_cannot_be_read_are_counted_up_to_a_limit(self, here):
        for name in ("strangers/0.jpg", "strangers/1.jpg", "probes/a/2.jpg"):
            (here / name).write_bytes(name.encode())
        with pytest.raises(DataError, match=r"a/2\.jpg: 14 bytes .* are not an image"):
            self.measure(here)
        with pytest.raises(DataError, match=r"It is fault 3; --max-corrupt 2 allows no more"):
            self.measure(here, limit=2)
        found, pictures = self.measure(here, limit=3)
        assert found.found.ranked[-1].distractors == len(pictures.distractors) - 2
        assert "3 pictures left out" in found.lines()[-1]

    def test_a_model_that_gives_no_numbers(self, here):
        with pytest.raises(EvaluationError, match="model: 5 of 5 embeddings are not finite"):
            self.measure(here, embed=not_a_number)

    def test_folders_that_are_none(self, here):
        with pytest.raises(DataError, match=r"nowhere: no such folder; expected faces of strangers"):
            find_pictures(here / "probes", here / "nowhere")
        with pytest.raises(DataError, match=r"nowhere: no such folder; expected one subfolder"):
            find_pictures(here / "nowhere", here / "strangers")
        (here / "empty").mkdir()
        with pytest.raises(EvaluationError, match=r"empty: no pictures in it; expected faces of people"):
            find_pictures(here / "probes", here / "empty")
        with pytest.raises(EvaluationError, match=r"a: all of them are probes; expected faces of people"):
            find_pictures(here / "probes", here / "probes" / "a")
        people_folder(here / "single", {"a": 1, "b": 1})
        with pytest.raises(EvaluationError, match=r"single: 2 people, none with two pictures"):
            find_pictures(here / "single", here / "strangers")
