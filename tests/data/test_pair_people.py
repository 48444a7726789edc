"""Who is in a set's pairs: the same bytes, and pairs said to be of one person."""

import numpy as np

from insightface_cakd.data.bins import load_bin, write_bin
from insightface_cakd.data.pair_people import people_of_pairs
from tests.data.record_files import jpeg


def test_equal_images_and_same_pairs_are_one_person():
    images = [b"a", b"b", b"b", b"c", b"d", b"e", b"a", b"d"]
    people = people_of_pairs(images, [True, True, False, False])
    first, second = people[0, 0], people[2, 0]
    assert first != second
    assert people.tolist() == [[first, first], [first, first], [second, people[2, 1]], [first, second]]
    assert len(np.unique(people)) == 3


def test_people_whom_nothing_connects_are_different():
    people = people_of_pairs([b"a", b"b", b"c", b"d"], [True, True])
    assert people[0, 0] != people[1, 0]


def test_without_a_same_pair_each_image_is_a_person():
    assert people_of_pairs([b"a", b"b", b"a", b"c"], [False, False]).tolist() == [[0, 1], [0, 2]]


def test_a_set_that_is_read_knows_its_people(tmp_path):
    encoded = [jpeg(number) for number in (0, 1, 1, 2)] * 10
    write_bin(tmp_path / "a.bin", encoded, [True, False] * 10)
    people = load_bin(tmp_path / "a.bin").people
    assert people.shape == (20, 2)
    assert people[0, 0] == people[0, 1] == people[1, 0] != people[1, 1]
