"""Prototypes that cannot be made, or are not those of the run: one line that says why, and nothing written or trained."""

import numpy as np
import pytest
import torch

from insightface_cakd.data.prototypes import Prototypes
from insightface_cakd.hosts.embedded.backbones import get_model
from tests.commands import cakd, refused, train, write_recipe
from tests.data.record_files import image_record, insightface_set, jpeg, people_folder, write_set
from tests.networks.onnx_models import channel_means

TERMS = [{"loss": "cosine", "weight": 64}, {"loss": "relation_aware", "weight": 64}]
MAKE = ["data", "prototypes", "means.yaml"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with two teachers: one of three numbers an image, and an untrained ViT with a recipe of the term."""
    monkeypatch.chdir(tmp_path)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        torch.save(get_model("vit_tiny", num_features=64).state_dict(), tmp_path / "teacher.pt")
        torch.save(get_model("vit_tiny", num_features=64).state_dict(), tmp_path / "other.pt")
    channel_means(tmp_path / "means.onnx")
    write_recipe(tmp_path / "means.yaml", network="onnx", weights="means.onnx")
    write_recipe(tmp_path / "own.yaml", *TERMS)
    return tmp_path


@pytest.fixture
def run(here, face_set):
    """The arguments of a run with prototypes of the face set by the run's teacher."""
    assert cakd("data", "prototypes", "own.yaml", face_set, "prototypes", "--teacher", "teacher.pt").code == 0

    def start(data=face_set, teacher="teacher.pt", prototypes="prototypes", **settings):
        taught = ("--distill", "own.yaml", "--teacher", teacher, "--prototypes", prototypes)
        return train(data, *taught, val_targets=[], **settings)

    return start


def test_the_run_that_nothing_is_wrong_with(run, here):
    assert cakd(*run()).code == 0
    assert (
        "cakd.losses.relation_aware.bank"
        in torch.load(here / "out" / "checkpoint_gpu_0.pt", weights_only=True)["state_dict_softmax_fc"]
    )


def test_prototypes_of_another_data_set(run, here, four_faces):
    refused(run(four_faces), r"teacher\.prototypes prototypes: of a data set with hash .*expected one data set", here)


def test_prototypes_of_another_teacher(run, here):
    refused(run(teacher="other.pt"), r"teacher\.prototypes prototypes: written by vit_tiny \(sha256", here)


def test_prototypes_of_another_number_of_classes(run, here):
    line = r"teacher\.prototypes prototypes: of 12 identities, the head has num_classes 20; expected as many"
    refused(run(num_classes=20), line, here)


def test_prototypes_that_are_missing_or_damaged(run, here, face_set):
    refused(run(prototypes="nowhere"), r"teacher\.prototypes nowhere: no such folder; expected", here)
    refused(
        train(face_set, "--distill", "own.yaml", "--teacher", "teacher.pt"),
        r"recipe: term 'relation_aware' needs prototypes of the training set, .*--prototypes FOLDER",
        here,
    )
    np.save(here / "prototypes" / "hardest.npy", np.zeros(3))
    refused(run(), r"teacher\.prototypes prototypes: is damaged", here)


def test_the_doctor_says_the_same(run, here, face_set):
    given = [
        "doctor",
        "--config",
        "faces_cnn_tiny",
        "--data",
        face_set,
        "--distill",
        "own.yaml",
        "--teacher",
        "teacher.pt",
    ]
    given += ["--set", "embedding_size=64", "--set", "batch_size=8", "--set", "val_targets=[]"]
    for wrong, message in (
        ([], "needs prototypes of the training set"),
        (["--prototypes", "nowhere"], "nowhere: no such folder"),
        (["--prototypes", "prototypes", "--set", "num_classes=20"], "of 12 identities, the head has num_classes 20"),
    ):
        ran = cakd(*given, *wrong)
        assert ran.code == 1
        assert any(message in line for line in ran.out.splitlines() if line.startswith("problem")), ran.out
    ran = cakd(*given, "--prototypes", "prototypes")
    assert ran.code == 0, ran.out


def test_more_others_than_there_are_are_cut_with_a_note(here):
    people_folder(here / "people", {"anna": 1, "ben": 2, "cleo": 1})
    said = cakd(*MAKE, "people", "out").out
    assert said.splitlines() == [
        "out: 3 people of 4 images, 2 of them with one image",
        "2 most similar others for each, not 100: there are no more",
    ]
    assert Prototypes.open("out").hardest.shape == (3, 2)
    assert cakd(*MAKE, "people", "fewer", "--nearest", 1).out.splitlines()[1] == "1 most similar others for each"


def test_an_identity_without_images(here):
    write_set(here / "data", {key: image_record(label, key, jpeg(key)) for key, label in enumerate([0, 1, 4])})
    message = r"data: 2 of 5 identities have no image \(2, 3\); expected at least one for each number from 0 to 4"
    refused([*MAKE, "data", "out"], message, here)


def test_data_and_places_that_will_not_do(here):
    refused([*MAKE, "nowhere", "out"], r"nowhere: no such folder", here)
    insightface_set(here / "data", [2, 1])
    (here / "out").mkdir()
    (here / "out" / "mine.txt").write_text("mine")
    refused([*MAKE, "data", "out"], r"out: exists already; expected a new or empty folder", here)
    refused([*MAKE, "data", "data/out"], r"data/out: lies inside the input folder data", here)
    refused([*MAKE, "data", "new", "--teacher", "nowhere.onnx"], r"teacher weights nowhere\.onnx: does not exist", here)
