"""A teacher of the user's own in the quickstart: found, measured, timed."""

import time
from dataclasses import dataclass

import torch

from insightface_cakd.data.bins import VerificationSet
from insightface_cakd.data.images import FACE_SIZE
from insightface_cakd.errors import RunError
from insightface_cakd.evaluate.pairs.verification import verify
from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.hosts.embedded.train_v2 import RunResult
from insightface_cakd.networks.entries import Entry, find_entry
from insightface_cakd.networks.modes import evaluating
from insightface_cakd.networks.packs import recogniser_file
from insightface_cakd.runtime.devices import choose_device
from insightface_cakd.runtime.progress import progress_bar

# Images of the forward by which a teacher is timed.
_TIMED = 16


@dataclass(frozen=True)
class Measured:
    """What a teacher is found to be.

    Args:
        result: its accuracy on the set, and how long that took.
        width: of its embeddings.
        seconds: for one image.
    """

    result: RunResult
    width: int
    seconds: float


def open_teacher(name: str) -> Entry:
    """Return a teacher of the user's own.

    Args:
        name: an .onnx, a run's folder, a pack's folder, or a pack that insightface has on disk by its name.

    Raises:
        RunError: there is none, or its network is not known.
    """
    found = find_entry(recogniser_file(name, "--teacher"))
    if found.runtime == "torch" and found.network is None:
        raise RunError(
            f"--teacher {name}: which network these weights are of is not known; expected an .onnx, or the output folder of a run. "
            "Export it to ONNX, or train with `cakd train --distill` and a recipe that names the network."
        )
    return found


def measure_teacher(teacher: Entry, pairs: VerificationSet, name: str) -> Measured:
    """Measure a teacher on a verification set, and print its accuracy."""
    started, device = time.monotonic(), choose_device(None)
    embed = teacher.load(get_model, device)
    with progress_bar("teacher") as progress, evaluating(embed), torch.no_grad():
        verified = verify(embed, pairs, device, progress=progress)
        began = time.monotonic()
        width = embed(torch.zeros(_TIMED, 3, FACE_SIZE, FACE_SIZE, device=device)).shape[1]
        seconds = (time.monotonic() - began) / _TIMED
    print(f"the teacher: {100 * verified.accuracy:.2f} % on {name}", flush=True)
    return Measured(RunResult({name: verified.accuracy}, seconds=time.monotonic() - started), width, seconds)
