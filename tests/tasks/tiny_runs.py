"""Runs of the shipped recipes whose teachers are tiny, unedited, with a file for each kind of teacher."""

from pathlib import Path

import torch

from insightface_cakd.export.student import export_run
from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.recipe import load_recipe, recipe_name, shipped_recipes, with_stages
from insightface_cakd.recipe.settings import given
from insightface_cakd.tasks.job import Job
from insightface_cakd.tasks.launch import train
from insightface_cakd.tasks.precompute import cache_teacher, make_prototypes
from insightface_cakd.teachers.masked_autoencoder import face_encoder
from tests.jobs import job

SMALL = (
    "batch_size=12",
    "num_epoch=1",
    "warmup_epoch=0",
    "num_workers=0",
    "frequent=2",
    "device=cpu",
    "embedding_size=64",
)
TINY = {"vit_tiny", "onnx", "cached"}


def fits(path):
    """Return whether a recipe runs here; those of other networks run in test_cakd_recipes.py.

    The recogniser of a liveness recipe is an ONNX file, whatever network stands in the recipe.
    """
    recipe = load_recipe(str(path))
    return path.stem != "quickstart" and (recipe.teacher.network in TINY or recipe.task.kind == "liveness")


FOR_TINY = [recipe_name(path) for path in shipped_recipes() if fits(path)]


def make_teacher_files(face_set: Path, folder: Path) -> dict[str, str]:
    """Give each kind of shipped teacher its file: weights, head, ONNX, cache."""
    train(Job("faces_vit_tiny", settings=(f"rec={str(face_set)!r}", f"output={str(folder / 'run')!r}", *SMALL)))
    softmax = ("margin_list=(1.0, 0.0, 0.0)", f"rec={str(face_set)!r}", f"output={str(folder / 'softmax')!r}", *SMALL)
    train(Job("faces_cnn_tiny", settings=softmax))
    export_run(folder / "run", folder / "teacher.onnx", get_model)
    weights = given(teacher=str(folder / "run" / "model.pt"))
    cache_teacher("cosine", face_set, folder / "cache", weights)
    make_prototypes("cosine", face_set, folder / "prototypes", weights)
    torch.save(face_encoder().state_dict(), folder / "encoder.pt")
    return {
        "vit_tiny": str(folder / "run" / "model.pt"),
        "centres": str(folder / "run" / "checkpoint_gpu_0.pt"),
        "onnx": str(folder / "teacher.onnx"),
        "cached": str(folder / "cache"),
        "prototypes": str(folder / "prototypes"),
        "init": str(folder / "softmax" / "model.pt"),
        "generative": str(folder / "encoder.pt"),
    }


def generative(recipe, files):
    """Return the setting of the file of a generative teacher, where a recipe has one."""
    return (f"teachers.generative.weights={files['generative']}",) if "generative" in recipe.teachers else ()


def distil(recipe, files, data, output, **changes):
    loaded = load_recipe(recipe)
    return train(
        job(
            "faces_cnn_tiny",
            recipe,
            teacher=changes.get("teacher", files.get(loaded.teacher.network, files["onnx"])),
            centres=(files["centres"],) if any(one.needs_centres for one in with_stages(loaded)) else (),
            init=changes.get("init"),
            settings=(f"rec={str(data)!r}", f"output={str(output)!r}", *SMALL, *changes.get("settings", ())),
            resume=changes.get("resume", False),
            prototypes=files["prototypes"] if loaded.needs_prototypes else None,
            changes=(*generative(loaded, files), *changes.get("overrides", ())),
        )
    )
