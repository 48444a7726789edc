"""Which patches and windows a Swin gets, by the size of the images."""

import pytest
import torch

from insightface_cakd.errors import TeacherError
from insightface_cakd.networks.timm_networks import TimmFace, create_timm, has_face_head, swin_geometry

TINY = "swin_tiny_patch4_window7_224"


@pytest.mark.parametrize(
    ("size", "patch", "window"),
    [
        (224, 4, (7, 7, 7, 7)),  # its own: maps 56 28 14 7
        (112, 2, (7, 7, 7, 7)),  # 56 28 14 7
        (128, 4, 8),  # 32 16 8 4
        (256, 4, 8),  # 64 32 16 8
        (96, 4, 6),  # 24 12 6 3
        (80, 2, 5),  # 40 20 10 5
    ],
)
def test_a_swin_keeps_its_patch_where_merging_allows_and_its_window_where_that_tiles(size, patch, window):
    assert swin_geometry(TINY, size, TeacherError) == {"patch_size": patch, "window_size": window}


def test_windows_may_differ_between_stages():
    assert swin_geometry("swin_s3_tiny_224", 112, TeacherError) == {"patch_size": 2, "window_size": (7, 7, 14, 7)}


@pytest.mark.parametrize(("size", "others"), [(100, "96 or 112"), (8, "16 or 32")])
def test_a_size_that_breaks_patch_merging_is_one_line(size, others):
    line = (
        rf"network timm:{TINY}: images of {size}x{size} give patch merging an odd map .* multiple of 16.* to {others}"
    )
    with pytest.raises(TeacherError, match=line) as caught:
        create_timm(TINY, size, TeacherError, num_classes=8)
    assert "\n" not in str(caught.value)


def test_the_head_is_recognised_by_its_keys():
    body = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 56, 56))
    face = TimmFace(body, 8)
    assert has_face_head(face.state_dict())
    assert has_face_head([f"module.{key}" for key in face.state_dict()])
    assert not has_face_head(body.state_dict())
    assert face.feature[0].in_features == 2 * 2 * 2


def test_measuring_the_body_leaves_its_mode_and_statistics():
    body = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 56, 56), torch.nn.BatchNorm2d(2))
    TimmFace(body, 8)
    assert body.training
    assert int(body[1].num_batches_tracked) == 0
