"""Export of the landmark student of a run."""

from pathlib import Path

from insightface_cakd.errors import ExportError
from insightface_cakd.export.landmarks import LandmarkReport, export_landmarks
from insightface_cakd.export.onnx import Exporter
from insightface_cakd.export.student import describe, provenance
from insightface_cakd.networks.models import GetModel, load_backbone
from insightface_cakd.runtime.run_folder import RESULT, RUN, RunFolder

LANDMARKS = "landmarks"


def finds_landmarks(run: Path) -> bool:
    """Return whether a path is a run of the task landmarks."""
    recipe = RunFolder(run).recipe if run.is_dir() else None
    task = (recipe or {}).get("task")
    return isinstance(task, dict) and task.get("kind") == LANDMARKS


def export_landmark_run(
    run: Path, out: Path, get_model: GetModel, network: str | None = None, exporter: Exporter = "legacy"
) -> LandmarkReport:
    """Export and check the landmark student of a run, or .pt weights.

    Args:
        run: output folder of a run, or a file of weights.
        out: the .onnx file to write; replaced only by a file that passed the check.
        get_model: the host's factory of networks.
        network: name of the network of bare weights.
        exporter: see `export_onnx`.

    Raises:
        CAKDError: as `export_run`.
    """
    weights, said = run, dict[str, str]()
    if run.is_dir():
        folder = RunFolder(run)
        folder.require(RUN, *(() if folder.saved.host else (RESULT,)))
        weights, said, network = folder.model, provenance(folder), network or folder.network
    if weights.suffix.lower() == ".onnx":
        raise ExportError(
            f"export {run}: is an .onnx with --landmarks; expected a run or weights. Give the one it was made from."
        )
    if network is None:
        raise ExportError(
            f"{run}: which network these weights are of is not known; expected its name. Pass --network, for example --network mbf."
        )
    backbone = load_backbone(weights, network, get_model)
    return export_landmarks(backbone, out, {**describe(backbone, network), **said}, exporter)
