"""The comparison that an experiment ends with: parts of its report, and sentences."""

import json

import pytest
import torch

from insightface_cakd.errors import EvaluationError
from insightface_cakd.evaluate.compare.summary import compare_runs
from tests.evaluate.verification_files import write_set
from tests.teachers.faces import get_model, saved

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for name, width in (("alone", 8), ("kd", 8), ("narrow", 4)):
        (folder / name).mkdir()
        saved(folder / name, width)
        (folder / name / "run.json").write_text(json.dumps({"config": {"network": "tiny"}}))
    write_set(folder / "dev.bin", 64, seed=3, same=[True, True, False, False] * 16)
    return folder


def compared(here, *names, **options):
    return compare_runs({name: here / name for name in names}, here / "dev.bin", CPU, get_model, **options)


def test_parts_and_sentences(here):
    found = compared(here, "alone", "kd", mixed=("alone", "kd"))
    assert [section.title for section in found.sections] == ["Comparison", "TAR@FAR", "Mixed enrolment"]
    assert [row["model"] for row in found.sections[0].rows] == ["alone", "kd"]
    assert found.pairs == 64
    assert found.differences["kd"].may_be_chance, "equal models differ by nothing"
    gained, kept = found.sentences
    assert gained.startswith("kd against alone, the same 64 pairs: +0.00 points [+0.00, +0.00]")
    assert kept.startswith("dev: keeping the gallery of alone under probes of kd costs 0.00 points")


def test_models_of_different_widths_are_compared_but_not_mixed(here):
    found = compared(here, "alone", "narrow", mixed=("alone", "narrow"))
    assert [section.title for section in found.sections] == ["Comparison", "TAR@FAR"]
    assert len(found.sentences) == 1


def test_a_run_without_weights(here):
    with pytest.raises(
        EvaluationError, match=r"gone: does not exist; expected an \.onnx, weights, or the output folder of a run"
    ):
        compared(here, "alone", "gone")
