"""The queue of features: first in first out, saved whole, equal on every rank, and no part of a step's graph."""

import pytest
import torch

from insightface_cakd.distill.gather import gather_constant
from insightface_cakd.errors import ShapeError
from insightface_cakd.losses.queue import FeatureQueue
from insightface_cakd.runtime.ranks import rank, world_size
from tests.ranks import RANKS, run_ranks


def numbered(*numbers):
    return torch.tensor([[float(number), -float(number)] for number in numbers]), torch.tensor(numbers)


def held(queue):
    """Return the labels of the filled rows, by place, and check that they are those of the rows."""
    filled = queue.filled()
    labels = queue.labels[filled]
    assert torch.equal(queue.rows[filled][:, :1].long().flatten(), labels)
    return labels.tolist()


@pytest.mark.parametrize(
    ("pushes", "holds"),
    [
        ([[]], []),
        ([[1, 2]], [1, 2]),
        ([[1, 2], [], [3]], [1, 2, 3]),
        ([[1, 2, 3], [4, 5]], [2, 3, 4, 5]),
        ([[1, 2, 3, 4]], [1, 2, 3, 4]),
        ([[1, 2, 3], [4, 5], [6, 7, 8]], [5, 6, 7, 8]),
        ([[1], [2, 3, 4, 5, 6, 7]], [4, 5, 6, 7]),
    ],
)
def test_the_oldest_rows_make_room_whatever_the_batch_sizes(pushes, holds):
    queue = FeatureQueue(4)
    for numbers in pushes:
        rows = numbered(*numbers) if numbers else (torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64))
        queue.push(*rows)
    assert sorted(held(queue)) == holds
    assert int(queue.count) == len(holds)


def test_rows_are_detached_and_the_steps_graph_keeps_what_it_read():
    queue = FeatureQueue(2)
    queue.push(*numbered(1, 2))
    rows = torch.tensor([[3.0, 4.0]], requires_grad=True)
    read = (rows @ queue.rows.T).sum()
    queue.push(rows)
    assert not queue.rows.requires_grad
    read.backward()
    assert rows.grad.tolist() == [[3.0, -3.0]]


def test_a_saved_queue_loads_into_a_new_one_of_yet_unknown_width():
    queue = FeatureQueue(4)
    queue.push(*numbered(1, 2, 3, 4, 5))
    state = {key: value.clone() for key, value in queue.state_dict().items()}
    assert set(state) == {"rows", "labels", "count", "cursor"}
    resumed = FeatureQueue(4)
    assert resumed.rows.numel() == 0
    resumed.load_state_dict(state)
    for each in (queue, resumed):
        each.push(*numbered(6, 7))
    assert held(resumed) == held(queue)
    with pytest.raises(RuntimeError, match="size mismatch"):
        FeatureQueue(5).load_state_dict(state)


def test_another_width_is_refused():
    queue = FeatureQueue(4)
    queue.push(*numbered(1))
    with pytest.raises(ShapeError, match="holds rows of width 2, and got width 3; expected one width"):
        queue.push(torch.zeros(1, 3))


def test_a_random_start_is_full_of_unit_rows_and_leaves_the_global_random_state_alone():
    before = torch.get_rng_state()
    queues = [FeatureQueue(3, start="random").fit(torch.zeros(1, 8)) for _ in range(2)]
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(queues[0].rows, queues[1].rows)
    torch.testing.assert_close(queues[0].rows.norm(dim=1), torch.ones(3))
    assert queues[0].filled().all()


def pushed():
    """Push this rank's share of twelve rows, in two steps."""
    rows, labels = numbered(*range(12))
    queue = FeatureQueue(7)
    for step in range(2):
        mine = slice(step * 6 + rank() * 6 // world_size(), step * 6 + (rank() + 1) * 6 // world_size())
        queue.push(gather_constant(rows[mine]), gather_constant(labels[mine]))
    return queue.state_dict()


@pytest.mark.parametrize("world", RANKS)
def test_every_rank_keeps_the_queue_of_one_process(world):
    expected = pushed()
    for state in run_ranks(pushed, world):
        for key, value in expected.items():
            assert torch.equal(state[key], value)
