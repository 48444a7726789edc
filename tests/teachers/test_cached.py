"""The cached teacher: the live teacher's answers, or an error that says why there are none."""

import pytest
import torch

from insightface_cakd.data.embedding_cache import write_cache
from insightface_cakd.errors import TeacherError
from insightface_cakd.teachers import Teacher, TeacherSpec, build_teacher
from tests.teachers.faces import WIDTH, as_input, faces, trained


@pytest.fixture
def live() -> Teacher:
    return Teacher.of_network(trained(), "tiny", WIDTH, "cpu")


@pytest.fixture
def cached(live, tmp_path) -> Teacher:
    write_cache(live, [faces(4), faces(2, seed=1)], tmp_path / "cache")
    return build_teacher(TeacherSpec(network="cached", weights=str(tmp_path / "cache")), None, "cpu")


def test_it_answers_in_any_order_with_any_flips_and_repeats(live, cached):
    known = torch.cat([as_input(faces(4)), as_input(faces(2, seed=1))])
    order = torch.tensor([5, 0, 0, 3, 2, 5])
    images = known[order]
    images[::2] = images[::2].flip(-1)
    torch.testing.assert_close(cached(images), live(images), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("alter", [torch.Tensor.half, lambda x: x.contiguous(memory_format=torch.channels_last)])
def test_precision_and_memory_layout_of_the_loader_do_not_matter(cached, alter):
    images = as_input(faces(4))
    assert torch.equal(cached(alter(images)), cached(images))


def test_it_has_no_state_and_no_gradient(cached):
    assert not list(cached.parameters())
    assert not cached.state_dict()
    assert not cached(as_input(faces(4)).requires_grad_()).requires_grad


def test_a_miss_says_how_many_images_and_names_other_data_or_another_decoder(cached):
    images = torch.cat([as_input(faces(4)), as_input(faces(3, seed=9))])
    line = (
        r"teacher cache .*cache: 3 of 7 images of the batch are not among its 12; .*other data .*another JPEG decoder"
    )
    with pytest.raises(TeacherError, match=line) as caught:
        cached(images)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "alter",
    [
        lambda images: images * 0.93,
        lambda images: torch.nn.functional.interpolate(images, size=96, mode="bilinear", antialias=True),
        lambda images: images.roll(1, -1) * 0.5 + images * 0.5,
    ],
)
def test_a_miss_of_altered_images_names_the_augmentation(cached, alter):
    with pytest.raises(
        TeacherError, match=r"4 of 4 images .*changed after decoding \(resize, colour jitter or another"
    ):
        cached(alter(as_input(faces(4))))


def test_one_changed_pixel_by_one_level_is_a_miss(cached):
    pixels = faces(4)
    pixels[1, 50, 50, 2] ^= 1
    with pytest.raises(TeacherError, match="1 of 4 images"):
        cached(as_input(pixels))


def test_a_real_recogniser_and_its_cache_agree_on_real_faces(shared_data, tmp_path):
    cv2 = pytest.importorskip("cv2")
    paths = sorted((shared_data / "lfw_train").glob("*/*.jpg"))[:12]
    pixels = torch.stack([torch.from_numpy(cv2.imread(str(path))[..., ::-1].copy()) for path in paths])
    live = build_teacher(
        TeacherSpec(network="onnx", weights=str(shared_data / "models/edgeface_xxs.onnx")), None, "cpu"
    )
    meta = write_cache(live, pixels.split(5), tmp_path / "cache")
    cached = build_teacher(TeacherSpec(network="cached", weights=str(tmp_path / "cache")), None, "cpu")
    assert (meta.images, meta.teacher_sha256) == (12, live.sha256)
    for images in (as_input(pixels), as_input(pixels).flip(-1)):
        assert torch.cosine_similarity(cached(images), live(images)).min() > 0.99999
