"""Batches of P people with K images."""

import numpy as np
import pytest

from insightface_cakd.errors import DataError
from insightface_cakd.hosts.embedded.utils.utils_people_sampler import PeopleSampler

# Ten people with 1, 2, ..., 5 images, twice.
LABELS = np.repeat(np.arange(10), [1, 2, 3, 4, 5] * 2)


def steps(sampler):
    """Return the epoch's batches, (steps, P, K)."""
    return np.array(list(sampler)).reshape(sampler.steps, sampler.people, sampler.images)


@pytest.mark.parametrize(("people", "images"), [(2, 2), (3, 4), (8, 2)])
def test_each_batch_has_different_people_with_so_many_images(people, images):
    sampler = PeopleSampler(LABELS, people, images, 1, 0, seed=1)
    for batch in steps(sampler):
        seen = LABELS[batch]
        assert (seen == seen[:, :1]).all(), "a row is one person"
        assert len(set(seen[:, 0])) == people
    assert sampler.left_out == 2
    assert len(list(sampler)) == len(sampler)


def test_images_of_a_person_differ_as_far_as_there_are_enough():
    sampler = PeopleSampler(LABELS, 8, 3, 1, 0, seed=1)
    counts = np.bincount(LABELS)
    for row in steps(sampler).reshape(-1, 3):
        assert len(set(row)) == min(3, counts[LABELS[row[0]]])


def test_ranks_share_a_step_without_meeting():
    ranks = [steps(PeopleSampler(LABELS, 2, 2, 3, rank, seed=1)) for rank in range(3)]
    for step in zip(*ranks, strict=True):
        people = LABELS[np.concatenate(step)][:, 0]
        assert len(set(people)) == 6


def test_an_epoch_has_an_order_of_its_own_that_comes_again():
    sampler = PeopleSampler(LABELS, 2, 2, 1, 0, seed=1)
    first = list(sampler)
    assert list(sampler) == first
    sampler.set_epoch(1)
    assert list(sampler) != first


def test_everybody_with_two_images_comes_in_turn():
    sampler = PeopleSampler(LABELS, 2, 2, 1, 0, seed=1)
    first = LABELS[steps(sampler)[:4].reshape(-1, 2)[:, 0]]
    assert sorted(first) == [1, 2, 3, 4, 6, 7, 8, 9]


def test_too_few_people_for_a_step_are_refused():
    with pytest.raises(
        DataError, match=r"people: 8 with two images or more, 2 with one; expected 10 for a step of 2 x 5"
    ):
        PeopleSampler(LABELS, 5, 2, 2, 0, seed=1)
