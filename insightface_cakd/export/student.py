"""A run's student, or bare weights, becomes an ONNX file that knows where it comes from."""

import json
from pathlib import Path
from typing import Any

from torch import nn

from insightface_cakd import __version__
from insightface_cakd.errors import ExportError
from insightface_cakd.evaluate.models import GetModel, load_backbone
from insightface_cakd.export.check import ExportReport, check_onnx
from insightface_cakd.export.onnx import export_onnx

CONTRACT = "RGB, 112x112, five-point alignment, (x - 127.5) / 127.5 outside the graph; output not normalised"
CAREFUL_USE = "non-commercial research unless the owners of the teacher and of the training data allow more"


def export_run(run: Path, out: Path, get_model: GetModel, network: str | None = None) -> ExportReport:
    """Export the student of a training run, or .pt weights, and check the file.

    Args:
        run: output folder of a run, or weights.
        out: the .onnx to write.
        get_model: the host's factory.
        network: network of bare weights; a run's folder names its own.

    Returns:
        What the check measured.

    Raises:
        ExportError: nothing to export, no network named, or the file does not do what the student does.
    """
    facts: dict[str, Any] = {}
    weights = run
    if run.is_dir():
        weights, facts = run / "model.pt", _facts(run)
        network = network or facts["config"]["network"]
    if network is None:
        raise ExportError(f"{run}: which network these weights are is not known; expected --network NAME, for example --network mbf.")
    backbone = load_backbone(weights, network, get_model)
    export_onnx(backbone, out, metadata(facts, network))
    return _checked(out, backbone)


def metadata(facts: dict[str, Any], network: str) -> dict[str, str]:
    """Return what the file says about itself.

    Args:
        facts: content of the run's `run.json`; empty for a student without a teacher.
        network: architecture of the student.
    """
    said = {"producer": f"insightface_cakd {__version__}", "network": network, "input_contract": CONTRACT, "usage": CAREFUL_USE}
    teacher = facts.get("teacher")
    if teacher is not None:
        said |= {
            "recipe": json.dumps(facts["recipe"], sort_keys=True),
            "teacher": str(teacher["name"]),
            "teacher_sha256": str(teacher["sha256"]),
            "teacher_licence": teacher["licence"] or "not stated",
        }
    return said


def _facts(run: Path) -> dict[str, Any]:
    """Read what the run saved about itself.

    Raises:
        ExportError: the folder is not that of a finished run.
    """
    saved = run / "run.json"
    if not saved.is_file():
        raise ExportError(f"{run}: holds no run.json; expected the output folder of a finished `cakd train`. Pass weights and --network.")
    return json.loads(saved.read_text(encoding="utf-8"))


def _checked(out: Path, backbone: nn.Module) -> ExportReport:
    """Check the file; one that fails the check does not stay."""
    try:
        return check_onnx(out, backbone)
    except ExportError:
        out.unlink(missing_ok=True)
        raise
