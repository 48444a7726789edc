"""The pairs shown as mistakes: which, in what order, with what score."""

import numpy as np
import pytest

from insightface_cakd.data.images import decode_rgb
from insightface_cakd.evaluate.pairs.mistakes import mistake_galleries, nearest_mistakes
from insightface_cakd.evaluate.pairs.verification import judge

SAME = np.arange(40) % 2 == 0
# Same pairs at a distance of 0.5, different ones at 1.5, so the threshold of every fold is between them.
CLEAR = np.where(SAME, 0.5, 1.5)
IMAGES = np.arange(80, dtype=np.uint8)[:, None, None, None] * np.ones((1, 112, 112, 3), np.uint8)


def wrong(most=6, **distances):
    """Judge the clear pairs with some distances of others, `p3=1.0` of pair 3."""
    values = CLEAR.copy()
    for pair, distance in distances.items():
        values[int(pair[1:])] = distance
    return nearest_mistakes("lfw", judge(values, SAME, "lfw"), IMAGES, most)


def test_pairs_that_are_judged_right_are_no_mistakes():
    assert wrong() == []


def test_the_most_alike_strangers_come_first_then_the_least_alike_faces_of_one_person():
    found = wrong(p3=0.4, p21=0.1, p6=1.9, p30=3.0)
    assert [(one.same, round(one.cosine, 3)) for one in found] == [
        (False, 0.95),
        (False, 0.8),
        (True, -0.5),
        (True, 0.05),
    ]
    # pair i is images 2i and 2i + 1
    assert [one.faces[:, 0, 0, 0].tolist() for one in found] == [[42, 43], [6, 7], [60, 61], [12, 13]]
    for one in found:
        assert (one.cosine > one.threshold) != one.same, "on the wrong side of its threshold"
        assert one.beyond == pytest.approx(abs(one.cosine - one.threshold))


def test_no_more_of_a_kind_than_asked_for():
    found = wrong(most=2, p1=0.3, p3=0.2, p5=0.1, p2=1.7, p4=1.8, p6=1.9)
    assert [one.faces[0, 0, 0, 0] for one in found] == [10, 6, 12, 8]
    assert [one.same for one in found] == [False, False, True, True]


def test_galleries_show_the_worst_of_all_sets_with_scores():
    galleries = mistake_galleries([*wrong(p3=0.4, p21=0.1), *wrong(p3=0.2)], "student", most=2)
    (accepts,) = galleries
    assert accepts.title == "student: false accepts"
    assert [tile.words[:10] for tile in accepts.tiles] == ["lfw: 0.950", "lfw: 0.900"]
    assert accepts.tiles[0].alt.startswith("Two faces of different people, accepted: cosine 0.950, threshold 0.")
    assert abs(int(decode_rgb(accepts.tiles[0].jpegs[1], "tile")[50, 50, 0]) - 43) <= 2
    assert mistake_galleries([]) == []
