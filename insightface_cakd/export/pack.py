"""Model packs: a student and a detector in one folder."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import onnx

from insightface_cakd import __version__
from insightface_cakd.data.align.detector import load_detector
from insightface_cakd.data.images import FACE_SIZE
from insightface_cakd.errors import ExportError
from insightface_cakd.export.card import CARD, write_card
from insightface_cakd.export.check import MEAN, STD, check_contract
from insightface_cakd.export.landmark_check import landmark_width, load_landmark
from insightface_cakd.export.pack_check import PackReport, check_pack, embedding_width
from insightface_cakd.networks.weights import file_sha256
from insightface_cakd.runtime.atomic import require_new, writing

DETECTOR, STUDENT, MANIFEST = "detection.onnx", "recognition.onnx", "manifest.json"
# InsightFace loads no landmark model of a pack with a manifest. One with landmarks has the same facts in this file, for people.
LANDMARKS, FACTS = "landmarks.onnx", "pack.json"
# Place of a licence signed by InsightFace; without it, tools treat the pack as non-commercial.
LICENCE, TERMS = "MODEL.LICENSE", "TERMS.txt"
_DETECTOR_STD = 128.0
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
# Metadata of the student's file that the manifest repeats.
_PROVENANCE = (
    "network",
    "recipe_name",
    "recipe",
    "teacher",
    "teacher_sha256",
    "teacher_licence",
    "producer",
    "precision",
)
_CAREFUL = (
    "non-commercial research unless the owners of the teacher, of the training data and of the detector allow more"
)


def make_pack(
    student: Path,
    detector: Path,
    out: Path,
    name: str,
    photos: Path | None = None,
    landmarks: Path | None = None,
) -> PackReport:
    """Write a model pack, and check that InsightFace loads it.

    The manifest has version 2. The pack is checked in a temporary folder, the way its users will load it, and then moved
    to `out`.

    Args:
        student: an .onnx file that meets InsightFace's contract, see `export_onnx`; its metadata go into the manifest.
        detector: a detector with five landmarks that insightface loads, such as an SCRFD.
        out: the folder to make.
        name: the pack's `model_id`.
        photos: a folder of photos; the embedding of each face in them must equal that of our own pipeline.
        landmarks: a landmark model, see `export_landmarks`. The pack then has `pack.json` and no `manifest.json`, since InsightFace loads
            what a manifest names, and no manifest can name landmarks.

    Returns:
        The result of the check.

    Raises:
        DataError: the detector is missing or is no detector, or a photo is damaged.
        ExportError: the student is missing or is no recogniser, the name is not allowed, `out` exists, or insightface
            does not load the pack; nothing is left behind.
    """
    if not NAME.fullmatch(name):
        raise ExportError(
            f"--name {name}: expected letters, digits, '.', '_' and '-', at most 128, the first a letter or digit."
        )
    if student.is_dir():
        raise ExportError(
            f"--student {student}: is a folder; expected an .onnx file, such as `cakd export` writes. Name the file."
        )
    if not student.is_file():
        raise ExportError(f"--student {student}: does not exist; expected an .onnx file. Correct the path.")
    require_new(out, ExportError)
    check_contract(student, f"--student {student.name}")
    load_detector(detector)
    if landmarks is not None:
        _require_landmarks(landmarks)
    with writing(out, ExportError) as temporary:
        temporary.mkdir()
        _write(student, detector, temporary, name, landmarks)
        report = check_pack(temporary, student, out, photos, manifest=landmarks is None)
    return replace(report, path=out)


def _require_landmarks(landmarks: Path) -> None:
    where = f"--landmarks {landmarks.name}"
    if not landmarks.is_file():
        raise ExportError(f"--landmarks {landmarks}: does not exist; expected an .onnx file. Correct the path.")
    landmark_width(landmarks, where)
    load_landmark(landmarks, where)


def _write(student: Path, detector: Path, folder: Path, name: str, landmarks: Path | None) -> None:
    shutil.copyfile(student, folder / STUDENT)
    shutil.copyfile(detector, folder / DETECTOR)
    model = onnx.load(str(student), load_external_data=False)
    said = {one.key: one.value for one in model.metadata_props}
    manifest = {
        "manifest_version": 2,
        "model_id": name,
        "display_name": name,
        "license": LICENCE,
        "tasks": {
            "detection": {
                "file": DETECTOR,
                "sha256": file_sha256(folder / DETECTOR),
                "preprocessing": {"mean": MEAN, "std": _DETECTOR_STD},
            },
            "recognition": {
                "file": STUDENT,
                "sha256": file_sha256(folder / STUDENT),
                "preprocessing": {"mean": MEAN, "std": STD},
                "input_size": [FACE_SIZE, FACE_SIZE],
                "embedding_dimension": embedding_width(student),
            },
        },
        "provenance": {
            "packed_by": f"insightface_cakd {__version__}",
            "usage": said.get("usage", _CAREFUL),
            "terms": TERMS,
            "detector_file": detector.name,
            **{key: said[key] for key in _PROVENANCE if key in said},
            **{key: value for key, value in said.items() if key.startswith("accuracy_")},
        },
    }
    if landmarks is not None:
        shutil.copyfile(landmarks, folder / LANDMARKS)
        manifest["tasks"]["landmarks"] = {  # type: ignore[index]
            "file": LANDMARKS,
            "sha256": file_sha256(folder / LANDMARKS),
            "points": landmark_width(landmarks, "--landmarks") // 2,
        }
    (folder / (MANIFEST if landmarks is None else FACTS)).write_text(
        json.dumps(manifest, indent=1) + "\n", encoding="utf-8"
    )
    (folder / TERMS).write_text(_terms(said), encoding="utf-8")
    write_card(folder / STUDENT, folder / CARD, name)


def _terms(said: dict[str, str]) -> str:
    teacher = f"{said.get('teacher', 'none named')} (licence: {said.get('teacher_licence', 'not stated')})"
    return (
        f"Recogniser: {said.get('network', 'not stated')}. Teacher: {teacher}.\n"
        f"Use: {said.get('usage', _CAREFUL)}.\n"
        "The detector is another's work and keeps its own terms. No MODEL.LICENSE is in this pack: it would have to be "
        "signed by InsightFace.\n"
    )
