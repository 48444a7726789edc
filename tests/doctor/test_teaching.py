"""What the doctor says of a recipe and its teacher: everything but training and measuring."""

import pytest
import torch

from insightface_cakd.hosts.embedded.backbones import get_model
from tests.commands import write_recipe
from tests.doctor.asking import lines, problems


@pytest.fixture
def teacher(tmp_path):
    """Weights of a tiny ViT, 512 wide."""
    with torch.random.fork_rng(devices=[]):
        torch.save(get_model("vit_tiny").state_dict(), tmp_path / "teacher.pt")
    return str(tmp_path / "teacher.pt")


def test_a_teacher_and_a_student_that_fit(face_set, teacher, tmp_path):
    case = {"distill": "quickstart", "teacher": teacher, "settings": ("batch_size=8",)}
    assert problems("faces_cnn_tiny", face_set, **case) == []
    lines_said = lines("faces_cnn_tiny", face_set, **case)
    first = next(i for i, line in enumerate(lines_said) if line.startswith("ok      recipe quickstart"))
    said = lines_said[first : first + 5]
    terms = "100 x urfm_attention + 10 x urfm_feature + 10 x urfm_anchor + 100 x prompt_anchor + 64 x cosine"
    assert said[0] == f"ok      recipe quickstart: {terms}, teacher vit_tiny"
    assert said[1] == "note    teacher.check: a run measures the teacher first; it must reach 0.7 on dev.bin."
    assert said[2].startswith("ok      teacher vit_tiny: loaded, embeddings of 512 values, sha256 ")
    assert said[3] == "ok      student cnn_tiny: fits the recipe's taps and losses, embeddings of 512 values"
    assert said[4].startswith("ok      first batch: 2 images, loss ")


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ({"distill": "cosin"}, "recipe cosin: no such file"),
        ({"distill": "cosine"}, "teacher vit_tiny: teacher.weights is not set"),
        ({"distill": "cosine", "teacher": "nowhere.pt"}, "teacher weights nowhere.pt: does not exist"),
        ({"distill": "onnx"}, "teacher onnx: teacher.weights is not set"),
        ({"distill": "kd"}, "recipe: a logits term needs the teacher's class centres"),
        ({"distill": "quickstart", "data": "."}, "teacher.check.bin: dev.bin is neither a file nor in ."),
        (
            {"distill": "cosine", "settings": ("embedding_size=64", "batch_size=8")},
            "term 'cosine': student (64,) vs teacher (512,)",
        ),
    ],
    ids=lambda value: " ".join(map(str, value.values())) if isinstance(value, dict) else "",
)
def test_a_teacher_that_is_out_of_reach_or_does_not_fit(case, message, face_set, teacher, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if "settings" in case or case["distill"] in ("kd", "quickstart"):
        case = {"teacher": teacher, **case}
    told = problems("faces_cnn_tiny", case.pop("data", face_set), **case)
    assert any(text.startswith(message) for text in told), told


def test_a_teacher_of_another_sha256_or_network(teacher, tmp_path):
    other = write_recipe(tmp_path / "other.yaml", sha256="0" * 64)
    assert "expected 000000" in problems(distill=str(other), teacher=teacher)[0]
    wrong = write_recipe(tmp_path / "wrong.yaml", network="cnn_tiny")
    assert "Is teacher.network the right one?" in problems(distill=str(wrong), teacher=teacher)[0]


def test_class_centres_that_are_too_few(face_set, teacher, tmp_path):
    torch.save({"weight": torch.eye(5, 512)}, tmp_path / "centres.pt")
    case = {"distill": "kd", "teacher": teacher, "centres": (str(tmp_path / "centres.pt"),)}
    told = problems("faces_cnn_tiny", face_set, settings=("num_classes=12", "batch_size=8"), **case)
    assert len(told) == 1
    assert told[0].startswith(
        "teacher centres (5, 512) do not fit a teacher of width 512 and a head that reaches class 12"
    )
