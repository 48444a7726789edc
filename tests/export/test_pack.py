"""Model packs: what insightface makes of them, and what is refused."""

import json
import shutil

import cv2
import numpy as np
import pytest
import torch
from insightface.app import FaceAnalysis
from insightface.model_zoo import get_model as insightface_model
from insightface.utils.face_align import norm_crop

from insightface_cakd.errors import DataError, ExportError
from insightface_cakd.export import pack_check
from insightface_cakd.export.onnx import export_onnx
from insightface_cakd.export.pack import make_pack
from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.networks.weights import file_sha256
from tests.data.record_files import jpeg
from tests.export.networks import settle, trained
from tests.networks.onnx_models import channel_means

SAID = {
    "network": "cnn_tiny",
    "teacher": "anna",
    "teacher_licence": "research",
    "usage": "non-commercial",
    "accuracy_dev": "1",
}


@pytest.fixture(scope="module")
def student(tmp_path_factory):
    path = tmp_path_factory.mktemp("student") / "student.onnx"
    torch.manual_seed(0)
    export_onnx(settle(get_model("cnn_tiny", num_features=64)), path, SAID)
    return path


@pytest.fixture(scope="module")
def detector(shared_data):
    return shared_data / "models" / "scrfd_500m.onnx"


@pytest.fixture(scope="module")
def packed(student, detector, shared_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("packs") / "mine"
    return folder, make_pack(student, detector, folder, "my_student", shared_data / "photos")


def test_a_pack_finds_and_embeds_the_faces_of_photos(packed, shared_data):
    folder, report = packed
    assert (report.path, report.width, report.photos) == (folder, 64, 8)
    assert report.faces >= 16
    assert report.cosine > 0.999
    assert f"{report.faces} faces in 8 photos" in report.summary()


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_its_embeddings_are_those_of_the_network_itself(packed, shared_data):
    """Against torch and insightface's own alignment, written out here."""
    analysis = FaceAnalysis(name=str(packed[0]), providers=["CPUExecutionProvider"])
    analysis.prepare(ctx_id=0)
    torch.manual_seed(0)
    network = settle(get_model("cnn_tiny", num_features=64)).eval()
    for name in ("photo_0.jpg", "photo_3.jpg"):
        bgr = cv2.imread(str(shared_data / "photos" / name))
        for face in analysis.get(bgr):
            rgb = norm_crop(bgr, face.kps)[..., ::-1].astype(np.float32)
            images = torch.from_numpy(((rgb - 127.5) / 127.5).transpose(2, 0, 1).copy())[None]
            with torch.no_grad():
                assert torch.cosine_similarity(network(images)[0], torch.from_numpy(face.embedding), dim=0) > 0.999


def test_the_manifest_says_what_it_holds_and_where_that_is_from(packed):
    folder, _ = packed
    manifest = json.loads((folder / "manifest.json").read_text())
    tasks = manifest["tasks"]
    assert (manifest["manifest_version"], manifest["model_id"], manifest["license"]) == (
        2,
        "my_student",
        "MODEL.LICENSE",
    )
    for task in tasks.values():
        assert task["sha256"] == file_sha256(folder / task["file"])
    assert tasks["recognition"]["preprocessing"] == {"mean": 127.5, "std": 127.5}
    assert (tasks["recognition"]["input_size"], tasks["recognition"]["embedding_dimension"]) == ([112, 112], 64)
    said = manifest["provenance"]
    assert {key: said[key] for key in SAID} == SAID
    assert "anna (licence: research)" in (folder / "TERMS.txt").read_text()
    assert not (folder / "MODEL.LICENSE").exists()
    card = (folder / "README.md").read_text()
    assert card.startswith("# my_student\n")
    assert "The teacher's licence: research. Use: non-commercial." in card


def test_model_zoo_gives_its_recogniser_and_notices_another_file(packed, tmp_path):
    folder = shutil.copytree(packed[0], tmp_path / "copy")
    model = insightface_model(str(folder), model_task="recognition", providers=["CPUExecutionProvider"])
    assert model.get_feat(np.zeros((112, 112, 3), np.uint8)).shape == (1, 64)
    export_onnx(trained(), folder / "recognition.onnx", {})
    with pytest.raises(RuntimeError, match="SHA-256 mismatch"):
        insightface_model(str(folder), model_task="recognition", providers=["CPUExecutionProvider"])


def test_a_pack_without_a_manifest_still_loads_by_shape(packed, tmp_path):
    """As insightface 1.x loads it."""
    folder = shutil.copytree(packed[0], tmp_path / "old")
    (folder / "manifest.json").unlink()
    analysis = FaceAnalysis(name=str(folder), providers=["CPUExecutionProvider"])
    assert sorted(analysis.models) == ["detection", "recognition"]


def refused(error, message, tmp_path, *arguments):
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(error, match=message) as caught:
        make_pack(*arguments)
    assert "\n" not in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_detector_that_is_none(student, shared_data, tmp_path):
    out = tmp_path / "pack"
    refused(DataError, "expected a detector that finds five points", tmp_path, student, student, out, "x")
    refused(DataError, "none.onnx: does not exist", tmp_path, student, tmp_path / "none.onnx", out, "x")
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    refused(DataError, "insightface cannot load it", tmp_path, student, tmp_path / "bad.onnx", out, "x")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"outputs": 2}, "--student means.onnx: 1 inputs and 2 outputs"),
        ({"batch": 1}, r"--student means.onnx: takes \[1, 3, 112, 112\]"),
    ],
)
def test_a_student_that_breaks_the_contract(changes, message, detector, tmp_path):
    means = channel_means(tmp_path / "means.onnx", **changes)
    refused(ExportError, message, tmp_path, means, detector, tmp_path / "pack", "x")


def test_a_strip_has_no_face(student, detector, shared_data, tmp_path):
    """3 x 2000 pixels: less than one wide once they are scaled to the detector's square."""
    (tmp_path / "photos").mkdir()
    shutil.copy(shared_data / "photos" / "photo_0.jpg", tmp_path / "photos")
    (tmp_path / "photos" / "strip.jpg").write_bytes(jpeg(0, 2000, 3))
    report = make_pack(student, detector, tmp_path / "pack", "x", tmp_path / "photos")
    assert report.photos == 2
    assert report.faces >= 1


def test_a_damaged_photo(student, detector, shared_data, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "cut.jpg").write_bytes((shared_data / "photos" / "photo_0.jpg").read_bytes()[:4000])
    message = f"^{photos}/cut.jpg: the JPEG of 4000 bytes is truncated"
    refused(DataError, message, tmp_path, student, detector, tmp_path / "pack", "x", photos)
    (photos / "cut.jpg").unlink()
    (photos / "gone.jpg").symlink_to(tmp_path / "nowhere")
    message = f"^{photos}/gone.jpg: a link to a file that is not there"
    refused(DataError, message, tmp_path, student, detector, tmp_path / "pack", "x", photos)


def test_errors_name_the_pack_as_it_was_asked_for(student, detector, tmp_path, monkeypatch):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(jpeg(0))
    message = "^pack mine: finds no face in 1 photos"
    refused(ExportError, message, tmp_path, student, detector, tmp_path / "mine", "x", tmp_path / "photos")

    def fail(name, **_):
        raise RuntimeError(f"{name}/detection.onnx is not to my taste")

    monkeypatch.setattr(pack_check, "FaceAnalysis", fail)
    message = r"^pack mine: insightface cannot load it \(.*/mine/detection.onnx is not"
    refused(ExportError, message, tmp_path, student, detector, tmp_path / "mine", "x")


def test_a_student_that_is_a_folder(detector, tmp_path):
    (tmp_path / "run").mkdir()
    message = r"--student .*run: is a folder; expected an .onnx file, such as `cakd export` writes"
    refused(ExportError, message, tmp_path, tmp_path / "run", detector, tmp_path / "pack", "x")


def test_other_mistakes(student, detector, tmp_path):
    refused(ExportError, "--name a b: expected letters", tmp_path, student, detector, tmp_path / "pack", "a b")
    refused(
        ExportError, "--student .*: does not exist", tmp_path, tmp_path / "no.onnx", detector, tmp_path / "pack", "x"
    )
    (tmp_path / "photos").mkdir()
    refused(DataError, "photos: is empty", tmp_path, student, detector, tmp_path / "pack", "x", tmp_path / "photos")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    refused(ExportError, "full: exists already", tmp_path, student, detector, tmp_path / "full", "x")
