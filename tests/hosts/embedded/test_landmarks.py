"""Landmarks of each image on the embedded host: read once, mirrored with their image, given to the receptive fields."""

import numpy as np
import pytest
import torch

from insightface_cakd.distill.urfm.positions import TEMPLATE
from insightface_cakd.errors import DataError, RecipeError, ShapeError
from insightface_cakd.hosts.embedded import train_v2
from insightface_cakd.hosts.embedded.dataset import get_dataloader, open_faces
from insightface_cakd.hosts.embedded.landmarks import mirror, read_landmarks
from insightface_cakd.recipe import parse_recipe
from insightface_cakd.tasks import seam
from insightface_cakd.teachers import Teacher
from tests.hosts.embedded.jobs import small_job
from tests.toy import toy_host, toy_teachers


def recipe(landmarks="batch", student="layer4", teacher="norm", **teacher_spec):
    fields = {"student": student, "teacher": teacher, "centres": 4, "width": 8, "heads": 2, "landmarks": landmarks}
    terms = [{"loss": f"urfm_{name}", "weight": 1} for name in ("attention", "feature", "anchor")]
    return parse_recipe({"teacher": {"network": "vit_tiny", **teacher_spec}, "urfm": fields, "losses": terms}, "recipe")


def write(folder, landmarks):
    np.save(folder / "landmarks.npy", landmarks)
    return folder


def per_image(count):
    shifts = np.random.default_rng(0).uniform(-8, 8, (count, 1, 2))
    return (np.array(TEMPLATE) + shifts).astype(np.float32)


@pytest.fixture
def data(face_set, tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    for file in face_set.iterdir():
        (folder / file.name).symlink_to(file)
    return folder


def test_a_mirrored_face_has_its_eyes_and_mouth_swapped():
    points = np.array([[30, 50], [70, 51], [50, 70], [40, 90], [65, 92]], dtype=np.float32)
    assert mirror(points).tolist() == [[41, 51], [81, 50], [61, 70], [46, 92], [71, 90]]
    assert np.array_equal(mirror(mirror(points)), points)


def test_each_image_comes_with_its_own_landmarks_mirrored_as_it_is(data):
    faces = open_faces(str(data))
    landmarks = per_image(len(faces))
    write(data, landmarks)
    loader = get_dataloader(str(data), 0, 8, num_workers=0, device=torch.device("cpu"))
    loader.with_landmarks(data)
    images, _, points = next(iter(loader))
    originals = [faces[index][0] for index in range(len(faces))]
    kinds = set()
    for image, found in zip(images, points, strict=True):
        pixels = ((image.permute(1, 2, 0).numpy() + 1) * 127.5).round().astype(np.uint8)
        plain = [i for i, rgb in enumerate(originals) if np.array_equal(rgb, pixels)]
        flipped = [i for i, rgb in enumerate(originals) if np.array_equal(rgb[:, ::-1], pixels)]
        expected = landmarks[plain[0]] if plain else mirror(landmarks[flipped[0]])
        np.testing.assert_array_equal(found.numpy(), expected)
        kinds.add(bool(plain))
    assert kinds == {True, False}


def train(data, output, landmarks):
    torch.manual_seed(4)
    teacher = Teacher.of_network(train_v2.get_model("vit_tiny", num_features=32), "vit_tiny", 32, torch.device("cpu"))
    with seam.installed(train_v2, recipe(landmarks), {"teacher": teacher}):
        train_v2.main(small_job(data, output, num_epoch=1))
    return torch.load(output / "model.pt", weights_only=True)


def test_landmarks_reach_the_fields_of_a_whole_run(data, tmp_path):
    plain = train(data, tmp_path / "template", "template")
    write(data, per_image(len(open_faces(str(data)))))
    moved = train(data, tmp_path / "batch", "batch")
    assert any(not torch.equal(value, moved[name]) for name, value in plain.items())


def test_a_run_without_the_file_stops_before_it_writes(data, tmp_path):
    with pytest.raises(DataError, match="no such file; expected it beside the records"):
        train(data, tmp_path / "batch", "batch")
    assert not (tmp_path / "batch").exists()


BAD = {
    "no such file": (None, "no such file; expected it beside the records"),
    "another number of images": (np.zeros((3, 5, 2), np.float32), r"float32 \(3, 5, 2\); expected numbers"),
    "three points": (np.zeros((40, 3, 2), np.float32), r"expected numbers \(40, 5, 2\)"),
    "outside": (np.full((40, 5, 2), 130.0), r"40 images have landmarks outside the image, first 0: \[\[130.0"),
    "not a number": (np.full((40, 5, 2), np.nan), "outside the image"),
    "objects": (np.array([{}], dtype=object), "cannot be read"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_file_that_does_not_fit_is_refused(case, tmp_path):
    landmarks, said = BAD[case]
    if landmarks is not None:
        np.save(tmp_path / "landmarks.npy", landmarks)
    with pytest.raises(DataError, match=said):
        read_landmarks(tmp_path, 40)


def test_a_file_of_other_bytes_is_refused(tmp_path):
    (tmp_path / "landmarks.npy").write_bytes(b"not numpy")
    with pytest.raises(DataError, match=r"landmarks.npy: cannot be read .* expected a .npy file"):
        read_landmarks(tmp_path, 40)


def test_a_host_whose_batches_have_none_is_told_before_training():
    with pytest.raises(RecipeError, match=r"urfm.landmarks: batch, but this host's batches have no landmarks"):
        seam.install(toy_host(), recipe(student="conv", teacher="conv"), toy_teachers())


def test_a_loop_must_give_what_the_recipe_reads():
    host = toy_host()
    host.GIVES_LANDMARKS = True
    seam.install(host, recipe(student="conv", teacher="conv"), toy_teachers())
    student = host.get_model("toy").train()
    with pytest.raises(ShapeError, match=r"urfm.landmarks: none given with a batch"):
        student(torch.zeros(2, 3, 112, 112))
    points = torch.full((2, 5, 2), 50.0)
    points[1, 0, 0] = -3
    with pytest.raises(ShapeError, match=r"point 0 of image 1 is \(-3.0, 50.0\)"):
        student(torch.zeros(2, 3, 112, 112), points)
