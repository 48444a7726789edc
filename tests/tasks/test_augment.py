"""`cakd data augment`: copies that views changed, with which a cache serves training on changed images."""

import numpy as np
import pytest
import torch

from insightface_cakd.data.images import decode_rgb
from insightface_cakd.data.records import FaceRecords
from insightface_cakd.errors import DataError, RecipeError
from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.tasks.augment import augment
from tests.commands import cakd, error_line

RECIPE = "teacher: {network: vit_tiny}\nlosses: [{loss: cosine, weight: 1}]\nviews: {both: [VIEWS]}\n"


def recipe(folder, views="colour, {kind: affine, degrees: 20}", name="alike.yaml"):
    path = folder / name
    path.write_text(RECIPE.replace("VIEWS", views))
    return str(path)


def payloads(records):
    return [records.stored(index) for index in range(len(records))]


def test_the_images_come_first_as_they_are_then_their_copies_with_the_same_labels(face_set, tmp_path):
    assert augment(recipe(tmp_path), face_set, tmp_path / "out", copies=2) == 3 * 48
    ours, theirs = FaceRecords(tmp_path / "out"), FaceRecords(face_set)
    assert payloads(ours)[:48] == payloads(theirs)
    assert ours.num_classes == theirs.num_classes
    for copy in (1, 2):
        assert sorted(ours.labels()[48 * copy : 48 * (copy + 1)]) == sorted(theirs.labels())
    assert len({payload for _, payload in payloads(ours)}) == 3 * 48


def test_a_view_that_changes_nothing_gives_the_images_again_up_to_jpeg(face_set, tmp_path):
    path = recipe(tmp_path, "{kind: affine, degrees: 0, scale: 0, shift: 0}")
    augment(path, face_set, tmp_path / "out", copies=1, quality=100)
    ours, theirs = FaceRecords(tmp_path / "out"), FaceRecords(face_set)
    sources = [(label, theirs[index][0].astype(int)) for index, label in enumerate(theirs.labels())]
    for index in range(48, 96):
        rgb, label = ours[index]
        assert min(np.abs(rgb - source).mean() for source_label, source in sources if source_label == label) < 2


def test_the_same_seed_gives_the_same_bytes_and_another_one_others(face_set, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        augment(recipe(tmp_path), face_set, tmp_path / name, copies=1, seed=seed)
    written = [(tmp_path / name / "train.rec").read_bytes() for name in "abc"]
    assert written[0] == written[1] != written[2]


def test_a_folder_of_people_is_augmented_as_its_records_are(face_set, tmp_path):
    assert cakd("data", "unpack", face_set, tmp_path / "people").code == 0
    augment(recipe(tmp_path), face_set, tmp_path / "a", copies=1)
    augment(recipe(tmp_path), tmp_path / "people", tmp_path / "b", copies=1)
    assert (tmp_path / "a" / "train.rec").read_bytes() == (tmp_path / "b" / "train.rec").read_bytes()


def test_a_cache_of_the_copies_teaches_on_them(face_set, tmp_path):
    path = recipe(tmp_path, "colour")
    assert cakd("data", "augment", path, face_set, tmp_path / "out", "--copies", "1").out.endswith("96 images\n")
    torch.manual_seed(0)
    torch.save(get_model("vit_tiny").eval().state_dict(), tmp_path / "teacher.pt")
    cakd("data", "cache-teacher", "cosine", tmp_path / "out", tmp_path / "cache", "--teacher", tmp_path / "teacher.pt")
    train = ["train", "faces_cnn_tiny", "--distill", "cached", "--teacher", tmp_path / "cache"]
    settings = ["num_epoch=1", "batch_size=16", "warmup_epoch=0", "val_targets=[]", "num_workers=0"]
    ended = cakd(
        *train, "--data", tmp_path / "out", "--output", tmp_path / "run", *(w for s in settings for w in ("--set", s))
    )
    assert ended.code == 0, ended.err
    refused = cakd(*train, "--data", face_set, "--output", tmp_path / "other", "--recipe-set", "views.both=[colour]")
    assert "cakd data augment" in error_line(refused)


@pytest.mark.parametrize(
    ("views", "said"),
    [
        ("", "has no views.both"),
        ("colour], student: [blur", "has views of one side"),
        ("colur", "'colur' is not known"),
    ],
)
def test_a_recipe_whose_views_a_copy_cannot_show_is_refused(face_set, tmp_path, views, said):
    with pytest.raises(RecipeError, match=said):
        augment(recipe(tmp_path, views), face_set, tmp_path / "out", copies=1)
    assert not (tmp_path / "out").exists()


def test_nothing_is_left_of_a_set_that_cannot_be_read(face_set, tmp_path):
    people = tmp_path / "people"
    assert cakd("data", "unpack", face_set, people).code == 0
    broken = next(people.rglob("*.*"))
    broken.write_bytes(broken.read_bytes()[:300])
    with pytest.raises(DataError, match=broken.name):
        augment(recipe(tmp_path), people, tmp_path / "out", copies=1)
    assert not (tmp_path / "out").exists()


def test_the_copies_are_pictures_of_the_size_that_networks_take(face_set, tmp_path):
    augment(recipe(tmp_path), face_set, tmp_path / "out", copies=1)
    for label, payload in payloads(FaceRecords(tmp_path / "out")):
        assert decode_rgb(payload, str(label)).shape == (112, 112, 3)
