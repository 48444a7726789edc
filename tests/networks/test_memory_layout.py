"""Convolutional networks compute in channels-last: the same answer, whatever the layout of the images."""

import pytest
import torch
from torch import nn

from insightface_cakd.distill.student import DistilledStudent
from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.networks.memory_layout import in_fast_layout, is_convolutional

LAST = torch.channels_last


def test_convolutions_of_overlapping_windows_make_a_network_convolutional():
    assert is_convolutional(nn.Conv2d(3, 8, 3, stride=2))
    assert not is_convolutional(nn.Conv2d(3, 8, 9, stride=9))


@pytest.mark.parametrize("name", ["cnn_tiny", "cnn_small", "mbf_small", "mbf", "r18", "vit_tiny"])
def test_the_hosts_convolutional_networks_come_in_it(name):
    network = get_model(name)
    kernels = [weight for weight in network.parameters() if weight.ndim == 4]
    assert all(weight.is_contiguous(memory_format=LAST) for weight in kernels)


def test_a_students_weights_of_a_checkout_are_put_into_it():
    backbone = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.Flatten(), nn.LazyLinear(4))
    backbone(torch.zeros(1, 3, 112, 112))
    student = DistilledStudent(backbone, {}, [], taught=False)
    assert student.backbone[0].weight.is_contiguous(memory_format=LAST)


@pytest.mark.parametrize("images_layout", [torch.contiguous_format, LAST])
def test_maps_follow_the_weights_layout_and_values_stay(images_layout):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.PReLU(8), nn.Conv2d(8, 8, 3))
    images = torch.randn(2, 3, 10, 10)
    expected = network(images)
    found = in_fast_layout(network)(images.contiguous(memory_format=images_layout))
    assert found.is_contiguous(memory_format=LAST)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_other_networks_stay_as_they_are():
    patches = nn.Conv2d(3, 8, 4, stride=4)
    assert in_fast_layout(patches).weight.is_contiguous()
