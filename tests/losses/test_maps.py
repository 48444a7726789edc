"""Losses of maps: grids and tokens, zero maps, partners."""

import pytest
import torch

from insightface_cakd.errors import ShapeError
from insightface_cakd.losses import LOSSES
from insightface_cakd.losses.fskd import partners
from tests.losses.cases import fixture


def maps(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def as_tokens(activation):
    return activation.flatten(2).transpose(1, 2)


def test_attention_of_one_image_and_its_sum_over_positions():
    student, teacher = (side[:1] for side in fixture("at"))
    loss = float(LOSSES["at"]()(student, teacher))
    assert loss == pytest.approx(0.175411193, abs=5e-10)
    assert 4 * loss == pytest.approx(0.701644772, abs=2e-9)


@pytest.mark.parametrize("name", ["at", "askd", "fskd", "fskd_relation"])
def test_tokens_are_maps_row_by_row(name):
    student, teacher, labels = maps(4, 3, 5, 5), maps(4, 3, 5, 5, seed=1), torch.tensor([0, 0, 1, 1])
    loss = LOSSES[name]()
    expected = float(loss(student, teacher, labels))
    assert float(loss(as_tokens(student), as_tokens(teacher), labels)) == pytest.approx(expected, rel=1e-12)


def test_attention_compares_a_map_with_tokens_of_other_width():
    student, teacher = maps(2, 3, 5, 5), maps(2, 8, 5, 5, seed=1)
    expected = float(LOSSES["at"]()(student, teacher))
    assert float(LOSSES["at"]()(student, as_tokens(teacher))) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("tokens", [False, True])
def test_attention_of_a_finer_student_is_averaged_over_the_teachers_grid(tokens):
    """A map in which each value fills a block of 2 x 2 has the attention of the small map."""
    small, teacher = maps(2, 3, 4, 4), maps(2, 8, 4, 4, seed=1)
    fine = small.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    ours = LOSSES["at"]()(fine, as_tokens(teacher) if tokens else teacher)
    assert float(ours) == pytest.approx(float(LOSSES["at"]()(small, teacher)), rel=1e-12)


def test_tokens_that_are_no_square_and_rows_that_are_no_map_are_refused():
    with pytest.raises(ShapeError, match=r"tokens \(2, 17, 3\): 17 are no square grid"):
        LOSSES["at"]()(maps(2, 3, 4, 4), maps(2, 17, 3))
    with pytest.raises(ShapeError, match=r"map \(2, 3\): 2 axes; expected \(B, C, H, W\) or tokens"):
        LOSSES["askd"]()(maps(2, 3), maps(2, 3))


@pytest.mark.parametrize("name", ["at", "fskd_relation"])
def test_a_zero_map_has_no_gradient(name):
    student = (maps(4, 3, 2, 2) * torch.tensor([0.0, 1, 1, 1]).view(4, 1, 1, 1).double()).requires_grad_()
    LOSSES[name]()(student, maps(4, 3, 2, 2, seed=1), torch.tensor([0, 0, 1, 1])).backward()
    assert not student.grad[0].any()
    assert torch.isfinite(student.grad).all()


def test_askds_maps_are_blind_to_what_pooling_loses():
    """Positions may be shuffled without a change of the channel part, channels without a change of the spatial part."""
    student = maps(2, 3, 2, 2)
    loss = LOSSES["askd"]()
    positions, channels = student.flip(2), student.flip(1)
    assert 0 < float(loss(positions, student)) <= 2
    assert 0 < float(loss(channels, student)) <= 2


def test_relations_of_a_batch_without_partners_are_a_differentiable_0():
    """The mean over an empty mask is NaN in the released code."""
    student = maps(3, 2, 2, 2).requires_grad_()
    loss = LOSSES["fskd_relation"]()(student, maps(3, 2, 2, 2, seed=1), torch.tensor([0, 1, 2]))
    loss.backward()
    assert float(loss.detach()) == 0
    assert not student.grad.any()


def test_images_without_partner_do_not_count():
    student, teacher = fixture("fskd_relation")
    extra = maps(1, 2, 2, 2)
    loss = LOSSES["fskd_relation"]()(torch.cat([student, extra]), torch.cat([teacher, extra]), torch.tensor([4, 4, 9]))
    assert float(loss) == pytest.approx(0.661957738, abs=5e-10)


def test_the_partner_is_the_most_similar_other_image_of_the_person():
    rows = torch.nn.functional.normalize(torch.tensor([[1.0, 0], [0, 1], [1, 0.1], [1, 0], [0.9, 0.2]]))
    partner, has_partner = partners(rows, torch.tensor([0, 0, 0, 1, 2]))
    assert partner[:3].tolist() == [2, 2, 0]
    assert has_partner.tolist() == [True, True, True, False, False]
