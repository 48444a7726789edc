"""Faces per second from images to embeddings, ours against upstream's.

Both run the same model on the same IJB tree.
"""

import contextlib
import io
import re
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median

import torch

from benchmarks.ijb import upstream_script
from insightface_cakd.errors import RunError
from insightface_cakd.evaluate.execution import Execution
from insightface_cakd.evaluate.ijb.evaluate import Question, faces_at_a_time
from insightface_cakd.evaluate.ijb.lists import find_tree, read_faces
from insightface_cakd.evaluate.ijb.presets import PRESETS
from insightface_cakd.evaluate.ijb.subjects import Extraction, ModelOrSaved, find_subject
from insightface_cakd.hosts.embedded.backbones import get_model

BATCH = 64
CPU = torch.device("cpu")
REPEATS = 3
TIME = re.compile(r"^Time: ([\d.]+) s", re.MULTILINE)

Timed = Callable[[], float]


def bench_extraction(question: Question, checkout: Path | None, workers: int = 2) -> str:
    """Return the faces per second of ours and of upstream's loop.

    Upstream's loop is that of eval_ijbc for weights and that of ijb_evals for ONNX. Both sides embed each image and its
    mirror image from the files of the tree, upstream in batches of 64 faces, ours in its own batches. Each number is the
    median of repetitions taken in turn. Loading the model is included for eval_ijbc, which does it inside its loop, and
    for ours beside it.

    Args:
        question: model, network, root and target.
        checkout: checkout of arcface_torch; None times ours alone.
        workers: number of threads that decode.

    Raises:
        CAKDError: the model, the tree or the checkout cannot be used.
    """
    if checkout is None:
        sides: dict[str, Timed] = {}
    elif question.network is None:
        sides = {"ijb_evals": lambda: _ijb_evals(question, checkout)}
    else:
        sides = {"eval_ijbc": lambda: _eval_ijbc(question, checkout)}
    preset = "eval_ijbc" if question.network else "ijb_evals"
    sides = {"ours": lambda: _ours(replace(question, preset=preset), workers), **sides}
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(REPEATS):
        for name, side in sides.items():
            seconds[name].append(side())
    count = len(read_faces(find_tree(question.root, question.target)).names)
    lines = [f"{question.model.name}: {count} faces and their mirror images, {torch.get_num_threads()} threads"]
    lines += [f"{name:<10}{count / median(taken):8.1f} faces/s" for name, taken in seconds.items()]
    lines += [
        f"faster by {median(other / own for own, other in zip(seconds['ours'], seconds[name], strict=True)):.2f} x"
        for name in list(sides)[1:]
    ]
    return "\n".join(lines)


def _ours(question: Question, workers: int) -> float:
    preset = PRESETS[question.preset]
    tree = find_tree(question.root, question.target)
    faces = read_faces(tree)
    entry = find_subject(question.model, question.network, "--network")
    execution = Execution(CPU, faces_at_a_time(CPU), workers)
    extraction = Extraction(preset, tree, faces, execution, 0, get_model)
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        ModelOrSaved(entry, Path(folder) / "e", extraction).embeddings(None)
        return time.perf_counter() - started


def _ijb_evals(question: Question, checkout: Path) -> float:
    tree = find_tree(question.root, question.target)
    faces = read_faces(tree)
    names = [str(tree.images / name) for name in faces.names]
    with (
        upstream_script(checkout, "../_evaluation_/ijb/ijb_evals.py") as script,
        contextlib.redirect_stderr(io.StringIO()),
    ):
        started = time.perf_counter()
        model = script["ONNX_model_interf"](str(question.model))
        script["get_embeddings"](model, names, faces.points, batch_size=BATCH)
        return time.perf_counter() - started


def _eval_ijbc(question: Question, checkout: Path) -> float:
    """Run the whole script; return its printed seconds for the embeddings.

    They are its third step.
    """
    from insightface_cakd.hosts.scripts import run_script

    tree = find_tree(question.root, question.target)
    printed = io.StringIO()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(printed):
        args = ["--model-prefix", str(question.model), "--network", str(question.network)]
        args += ["--image-path", str(tree.folder), "--result-dir", folder, "--target", tree.target]
        run_script("eval_ijbc.py", [*args, "--batch-size", str(BATCH)], checkout)
    times = TIME.findall(printed.getvalue())
    if len(times) < 3:
        raise RunError(
            f"eval_ijbc.py: printed {len(times)} times; expected one of each step. Is the checkout unmodified?"
        )
    return float(times[2])
