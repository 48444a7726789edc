"""Builds the teacher that a recipe names."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from insightface_cakd.data.embedding_cache import EmbeddingCache
from insightface_cakd.errors import TeacherError
from insightface_cakd.networks.image_format import ImageFormat, image_format
from insightface_cakd.networks.kinds import GetModel, host_network, own_network, torchscript_network
from insightface_cakd.networks.onnx import OnnxNetwork, model_sha256
from insightface_cakd.networks.timm_networks import TIMM, create_timm, has_face_head, timm_face
from insightface_cakd.networks.weights import (
    check_sha256,
    file_sha256,
    infer_embedding_size,
    load_strictly,
    read_state,
    weights_file,
)
from insightface_cakd.recipe.teacher import CACHED, ONNX, TeacherSpec
from insightface_cakd.runtime.foreign import foreign
from insightface_cakd.teachers.base import Teacher, freeze
from insightface_cakd.teachers.cached import CachedEmbeddings, CachedTeacher
from insightface_cakd.teachers.prompts.teacher import PromptedTeacher
from insightface_cakd.teachers.trained import TrainedTeacher
from insightface_cakd.teachers.trial import measure_answer

_CANNOT_LEARN = {
    CACHED: ("its embeddings were written beforehand", "the network that wrote the cache"),
    ONNX: ("no gradient passes through an ONNX graph", "the torch network that the file was exported from"),
    "torchscript": ("the modules of a TorchScript graph are closed", "the torch network that the file was made from"),
}


def build_teacher(spec: TeacherSpec, get_model: GetModel, device: torch.device | str) -> Teacher:
    """Build, load, freeze and try out the teacher of a recipe.

    Random number generators are left as they were. Nothing is downloaded.

    Args:
        spec: names network and weights.
        get_model: the host's factory, for teachers that are networks of the host.
        device: where the teacher runs.

    Raises:
        TeacherError: the file is missing, truncated, of another sha256 than the recipe gives, or for another network; the
            network does not exist or cannot embed images of `spec.input_size`; its embedding is not
            `spec.embedding_size` wide; prompts are asked of a teacher that cannot learn.
    """
    device = torch.device(device)
    _check_kind(spec)
    if spec.network == CACHED:
        return _cached(spec, device)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        if spec.network == "torchscript":
            return _from_file(spec, device, torchscript_network)
        if spec.network == ONNX:
            return _from_file(spec, device, lambda path, place, where: _onnx(spec, path, place, where))
        return _from_weights(spec, device, get_model)


def untrained_teacher(
    spec: TeacherSpec,
    get_model: GetModel,
    width: int,
    device: torch.device,
    make: Callable[[Callable[[], nn.Module]], nn.Module] = lambda build: build(),
) -> Teacher:
    """Build the teacher of a recipe with random weights, for timing.

    No file is read.

    Args:
        width: of the embedding where the recipe gives none.
        make: calls the function that builds the network.
    """
    _check_kind(spec)
    if spec.network in _CANNOT_LEARN:
        raise TeacherError(
            f"teacher {spec.network}: nothing to time without its file; expected a network with random weights in its place. Pass "
            "--teacher NETWORK (vit_t, timm:NAME)."
        )
    size = spec.embedding_size or width
    network = freeze(make(lambda: _torch_network(spec, size, get_model, device, face_head=True)), device)
    found = measure_answer(network, device, spec.input_size, f"teacher {spec.network}", trained=False)
    return _teacher_of(spec, network, found, device)


def _cached(spec: TeacherSpec, device: torch.device) -> Teacher:
    """Open a cache of embeddings as a teacher."""
    if spec.weights is None:
        raise TeacherError(
            "teacher cached: teacher.weights is not set; expected the folder of a cache. "
            "Set it, or pass --teacher FOLDER."
        )
    cache = EmbeddingCache.open(spec.weights)
    meta, where = cache.meta, f"teacher cache {cache.folder}"
    check_sha256(meta.teacher_sha256, spec.sha256, f"{where}: its teacher's")
    _check_width((meta.embedding_size,), spec.embedding_size, where)
    if meta.image_size != spec.input_size:
        raise TeacherError(
            f"{where}: holds images of {meta.image_size}x{meta.image_size}, teacher.input_size is {spec.input_size}. "
            f"Set teacher.input_size: {meta.image_size}."
        )
    takes = image_format(spec)
    if str(takes) != meta.takes:
        raise TeacherError(
            f"{where}: of a teacher that took pixels as {meta.takes}, the recipe's takes {takes}; expected the same. Set "
            "teacher.channels, mean and std to those of the cache, or write it again with `cakd data cache-teacher` and this recipe."
        )
    return CachedTeacher(
        CachedEmbeddings(cache),
        f"{meta.teacher} (cached)",
        meta.embedding_size,
        device,
        sha256=meta.teacher_sha256,
        input_size=spec.input_size,
        tappable=False,
        takes=takes,
    )


def _from_file(
    spec: TeacherSpec, device: torch.device, load: Callable[[Path, torch.device, str], nn.Module]
) -> Teacher:
    """Load a file that contains both network and weights."""
    path = weights_file(spec.weights, spec.network)
    where = f"teacher weights {path}"
    digest = model_sha256(path)
    check_sha256(digest, spec.sha256, where)
    network, takes = freeze(load(path, device, where), device), image_format(spec)
    width = measure_answer(network, device, spec.input_size, where, takes)
    _check_width(width, spec.embedding_size, where)
    # Hooks inside a TorchScript graph never fire, and an ONNX graph has no modules.
    return Teacher(
        network, path.name, width, device, sha256=digest, input_size=spec.input_size, tappable=False, takes=takes
    )


def _onnx(spec: TeacherSpec, path: Path, device: torch.device, where: str) -> OnnxNetwork:
    """Load an ONNX file; a given mean or std replaces a guess at what it takes."""
    given = spec.mean is not None or spec.std is not None
    network = OnnxNetwork(path, device, spec.input_size, where)
    return network.given_its_range(where) if given else network


def _from_weights(spec: TeacherSpec, device: torch.device, get_model: GetModel) -> Teacher:
    """Build a torch network and load its state dict."""
    # Only a user's own callable may bring its weights along.
    is_own = ":" in spec.network and not spec.network.startswith(TIMM)
    if is_own and spec.weights is None:
        network, digest, where = own_network(spec.network, spec.embedding_size), None, f"teacher {spec.network}"
        check_sha256(digest, spec.sha256, where)
    elif spec.trains and spec.weights is None:
        network, digest, where = _untrained(spec, get_model, device), None, f"teacher {spec.network}"
    else:
        path = weights_file(spec.weights, spec.network)
        where = f"teacher weights {path}"
        digest = file_sha256(path)
        check_sha256(digest, spec.sha256, where)
        state = read_state(path, where)

        def of_width(width: int) -> nn.Module:
            return _torch_network(spec, width, get_model, device, has_face_head(state))

        # A user's own callable may do more than build, and is called once.
        width = spec.embedding_size or infer_embedding_size(state, where, None if is_own else of_width)
        network = of_width(width)
        load_strictly(network, state, where)
    with foreign(where, TeacherError, "a network that can be put on the device and frozen. Correct it.", of=network):
        network = network.eval().to(device) if spec.trains else freeze(network, device)
    loaded = digest is not None or not spec.trains
    answer = measure_answer(network, device, spec.input_size, where, image_format(spec), loaded)
    _check_width(answer, spec.embedding_size, where)
    plain = None if spec.prompts is None else _remembered(spec.prompts.plain, answer, digest, image_format(spec))
    return _teacher_of(spec, network, answer, device, digest, plain)


def _teacher_of(
    spec: TeacherSpec,
    network: nn.Module,
    width: tuple[int, ...],
    device: torch.device,
    digest: str | None = None,
    remembered: nn.Module | None = None,
) -> Teacher:
    known: dict[str, Any] = {"sha256": digest, "input_size": spec.input_size, "takes": image_format(spec)}
    if spec.trains:
        return TrainedTeacher(network, spec.network, width, device, **known)
    if spec.prompts is None:
        teacher = Teacher(network, spec.network, width, device, autocast=":" in spec.network, **known)
        if spec.compile:
            teacher.compile_forward()
        return teacher
    return PromptedTeacher(
        network, spec.network, width, device, spec.prompts, autocast=True, remembered=remembered, **known
    )


def _untrained(spec: TeacherSpec, get_model: GetModel, device: torch.device) -> nn.Module:
    """Return a network of random weights, for a teacher that trains."""
    if spec.embedding_size is None:
        raise TeacherError(
            f"teacher {spec.network}: trains from random weights, and teacher.embedding_size is not set; expected the width of its "
            "embedding. Set it, or teacher.weights."
        )
    return _torch_network(spec, spec.embedding_size, get_model, device, face_head=True)


def _remembered(
    folder: str | None, width: tuple[int, ...], digest: str | None, takes: ImageFormat
) -> CachedEmbeddings | None:
    """Open the cache of a prompted teacher's embeddings without prompts."""
    if folder is None:
        return None
    cache = EmbeddingCache.open(folder)
    meta = cache.meta
    if (meta.teacher_sha256, (meta.embedding_size,), meta.takes) != (digest, width, str(takes)):
        raise TeacherError(
            f"teacher.prompts.plain {folder}: written by {meta.teacher} (sha256 {meta.teacher_sha256}, width {meta.embedding_size}, "
            f"{meta.takes}); expected this teacher (sha256 {digest}, width {width[-1]}, {takes}). Write it with `cakd data cache-teacher` "
            "and this recipe, or leave it out."
        )
    return CachedEmbeddings(cache)


def _torch_network(
    spec: TeacherSpec, width: int, get_model: GetModel, device: torch.device, face_head: bool
) -> nn.Module:
    if spec.network.startswith(TIMM):
        name = spec.network[len(TIMM) :]
        if face_head:  # that of networks trained here, instead of timm's classifier
            return timm_face(name, width, spec.input_size, TeacherError)
        return create_timm(name, spec.input_size, TeacherError, num_classes=width)
    if ":" in spec.network:
        return own_network(spec.network, width)
    # A gradient to the prompts would underflow in the float16 that the host's networks choose; `Teacher` chooses bfloat16.
    place = device if spec.prompts is None else torch.device("cpu")
    return host_network(spec.network, width, get_model, place)


def _check_kind(spec: TeacherSpec) -> None:
    """Refuse prompts and training for teachers that cannot learn, and programs for those that cannot be one."""
    reason, instead = _CANNOT_LEARN.get(spec.network, ("its prompts learn in its place", None))
    if spec.trains and (instead is not None or spec.prompts is not None):
        raise TeacherError(
            f"teacher {spec.network}: cannot train, {reason}; expected a torch network without prompts. Remove trains."
        )
    if spec.prompts is not None and instead is not None:
        raise TeacherError(
            f"teacher {spec.network}: cannot learn prompts, {reason}; expected a torch Transformer. Remove "
            f"teacher.prompts, or set teacher.network to {instead}."
        )
    if spec.compile and (instead is not None or spec.trains or spec.prompts is not None):
        kind = "is no network of torch" if instead is not None else "learns with the student"
        raise TeacherError(
            f"teacher {spec.network}: cannot be compiled, it {kind}; expected a frozen torch network. Remove teacher.compile."
        )


def _check_width(found: tuple[int, ...], expected: int | None, where: str) -> None:
    """Compare the width of the embedding with the recipe's."""
    if expected is not None and found != (expected,):
        values = " x ".join(map(str, found))
        raise TeacherError(
            f"{where}: its embedding has {values} values, teacher.embedding_size is {expected}. Correct it or leave it "
            "out."
        )
