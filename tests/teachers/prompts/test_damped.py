"""A damped gradient: the same values forward, a factor backward."""

import pytest
import torch

from insightface_cakd.teachers.prompts.damped import damped
from tests.teachers.prompts.networks import images, prompted


@pytest.mark.parametrize("factor", [0.0, 0.25, 1.0])
def test_values_stay_and_gradients_take_the_factor(factor):
    tensor = torch.randn(3, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    result = damped(tensor, factor)
    assert torch.equal(result, tensor)
    result.square().sum().backward()
    torch.testing.assert_close(tensor.grad, factor * 2 * tensor.detach())


def test_prompts_learn_at_their_own_rate():
    def gradient(rate):
        teacher = prompted("vit_tiny", rate=rate)
        teacher(images("vit_tiny")).sum().backward()
        return teacher.prompts.sets[0].grad

    torch.testing.assert_close(gradient(0.1), 0.1 * gradient(1.0))
