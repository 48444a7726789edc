"""Export of a run's student, or bare weights, to ONNX with provenance."""

import json
import os
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from insightface_cakd import __version__
from insightface_cakd.errors import ExportError
from insightface_cakd.export.check import ExportReport, check_onnx
from insightface_cakd.export.onnx import Exporter, export_onnx
from insightface_cakd.networks.models import GetModel, load_backbone
from insightface_cakd.networks.prefix import Prefix
from insightface_cakd.runtime.atomic import work_folder, writing
from insightface_cakd.runtime.run_folder import RESULT, RUN, RunFolder

CONTRACT = "RGB, 112x112, five-point alignment, (x - 127.5) / 127.5 outside the graph; output not normalised"
_TRAINING_KEYS = (
    "num_image",
    "num_classes",
    "seed",
    "num_epoch",
    "batch_size",
    "gradient_acc",
    "margin_list",
    "sample_rate",
)
_CAREFUL_USE = "non-commercial research unless the owners of the teacher and of the training data allow more"


def export_run(
    run: Path,
    out: Path,
    get_model: GetModel,
    network: str | None = None,
    exporter: Exporter = "legacy",
    width: int | None = None,
) -> ExportReport:
    """Export and check the student of a training run, or .pt weights.

    Args:
        run: output folder of a run, or a file of weights.
        out: the .onnx file to write; replaced only by a file that passed the check.
        get_model: the host's factory of networks.
        network: name of the network of bare weights; a run's folder names its own.
        exporter: see `export_onnx`.
        width: export the first so many numbers of the embedding alone; all of them when not given.

    Returns:
        The result of the check.

    Raises:
        ExportError: there is nothing to export, no network is named, or the file does not give the student's embeddings.
        EvaluationError: the weights are missing, damaged or of another network.
        RunError: the run is not finished, or its files are damaged.
    """
    weights, said = run, dict[str, str]()
    if run.is_dir():
        folder = RunFolder(run)
        # A checkout writes its measurements to its log only, so that there is no result file.
        folder.require(RUN, *(() if folder.saved.host else (RESULT,)))
        weights, said, network = folder.model, provenance(folder), network or folder.network
    if network is None:
        raise ExportError(
            f"{run}: which network these weights are of is not known; expected its name. Pass --network, for example "
            "--network mbf."
        )
    backbone = load_backbone(weights, network, get_model)
    facts = {**describe(backbone, network), **said}
    if width is not None:
        backbone, facts["embedding_prefix"] = Prefix(backbone, width), str(width)
    return export_checked(backbone, out, facts, exporter)


def export_checked(
    backbone: nn.Module, out: Path, metadata: dict[str, str], exporter: Exporter = "legacy"
) -> ExportReport:
    """Export a network, and put the file in place once checked."""
    with (
        writing(out, ExportError, f"export {out}") as checked,
        work_folder(checked) as folder,
    ):
        candidate = folder / out.name
        export_onnx(backbone, candidate, metadata, exporter)
        report = check_onnx(candidate, backbone)
        os.replace(candidate, checked)
    return replace(report, path=out)


def describe(backbone: nn.Module, network: str) -> dict[str, str]:
    """Return the metadata of the network itself."""
    return {
        "producer": f"insightface_cakd {__version__}, torch {torch.__version__}",
        "network": network,
        "parameters": str(sum(parameter.numel() for parameter in backbone.parameters())),
        "input_contract": CONTRACT,
        "usage": _CAREFUL_USE,
    }


def provenance(run: RunFolder) -> dict[str, str]:
    """Return the metadata of training, accuracy, recipe and teacher, without paths."""
    said = {f"training_{key}": str(value) for key, value in run.config.items() if key in _TRAINING_KEYS}
    if run.config.get("rec"):
        said["training_data"] = Path(str(run.config["rec"])).name
    if run.saved.ranks is not None:
        said["training_ranks"] = str(run.saved.ranks)
    for name, accuracy in run.result.accuracy.items():
        said[f"accuracy_{name}"] = f"{accuracy:.4f} (ten folds, image + mirror image)"
    if run.teacher is not None:
        terms = [{key: value for key, value in term.items() if value not in (None, {})} for term in run.terms]
        said |= {
            "recipe_name": run.saved.recipe_name or "not stated",
            "recipe": json.dumps(terms, sort_keys=True),
            "teacher": run.teacher.name,
            "teacher_sha256": run.teacher.sha256 or "not a file",
            "teacher_licence": run.teacher.licence or "not stated",
        }
        said |= {
            f"teacher_accuracy_{name}": f"{accuracy:.4f} (some hundred pairs)"
            for name, accuracy in run.teacher.sets.items()
        }
    return said
