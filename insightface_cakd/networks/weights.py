"""Reads a teacher's weights strictly."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from insightface_cakd.errors import TeacherError, in_one_line
from insightface_cakd.networks.key_prefix import COUNTER, under_prefix
from insightface_cakd.runtime.foreign import foreign
from insightface_cakd.runtime.reading import reading
from insightface_cakd.runtime.run_folder import MODEL, RunFolder
from insightface_cakd.runtime.tensor_file import first_oddity

_BLOCK = 1 << 20
# Widths that nothing else in a network has.
_WIDTHS = (1009, 1013)


@dataclass(frozen=True)
class Advice:
    """The advice that ends an error line about unusable weights.

    Args:
        shapes: advice if the keys are right and only shapes differ.
        width: advice if no weight shows the width of the embedding.
    """

    shapes: str
    keys: str
    torchscript: str = "Save its `state_dict()`."
    width: str = "Correct the file."


TEACHER = Advice(
    "Are teacher.network, teacher.embedding_size and teacher.input_size the right ones?",
    "Is teacher.network the right one?",
    "Set teacher.network: torchscript.",
    "Set teacher.embedding_size, or correct the file.",
)


def weights_file(weights: str | None, network: str) -> Path:
    """Return the path of a teacher's weights."""
    if weights is None:
        raise TeacherError(
            f"teacher {network}: teacher.weights is not set; expected a file, a teacher never keeps random weights. "
            "Set teacher.weights, or pass --teacher FILE."
        )
    return weights_in(weights, "teacher weights", "Correct teacher.weights, or pass --teacher FILE.")


def weights_in(name: str, what: str, fix: str) -> Path:
    """Return the path of weights; a run's folder stands for its own."""
    run = RunFolder(Path(name).expanduser())
    return existing_file(str(run.weights or run.path), what, fix)


def existing_file(name: str, what: str, fix: str) -> Path:
    """Return the path, with `~` resolved, of a file that must exist."""
    path = Path(name).expanduser()
    if not path.is_file():
        raise TeacherError(
            f"{what} {path}: {f'is a folder without {MODEL}' if path.is_dir() else 'does not exist'}; expected a file. {fix}"
        )
    return path


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file as 64 lower-case hexadecimal digits."""
    digest = hashlib.sha256()
    with reading(path, TeacherError, "a file that can be read. Get it again."), path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def check_sha256(found: str | None, expected: str | None, where: str) -> None:
    """Compare the hash of a file with the one in the recipe.

    Without a file `found` is None. A recipe may write its hash in any case; without one it accepts every file.
    """
    if expected is not None and found != expected.lower():
        raise TeacherError(
            f"{where}: sha256 is {found}, expected {expected.lower()}. It is another file or a damaged one: get the "
            "right one, or correct teacher.sha256."
        )


def read_tensors(path: Path, where: str, advice: Advice = TEACHER, mapped: bool = False) -> dict[str, Any]:
    """Read a dict of tensors and plain values written by `torch.save`.

    A `.safetensors` is a dict of tensors, too.

    Args:
        path: of the file.
        where: beginning of every error message.
        advice: end of the error messages.
        mapped: leave the tensors in the file, which is mapped into memory; one in torch's format before 1.6 is read.
    """
    try:
        content = (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True, mmap=mapped and is_zipfile(path))
        )
    # Damaged bytes make torch.load raise nearly anything, KeyError included.
    except Exception as error:
        if "TorchScript" in str(error):
            raise TeacherError(
                f"{where}: is a TorchScript file; expected a state dict. {advice.torchscript}"
            ) from error
        reason = in_one_line(f"{type(error).__name__}: {error}").split(". ")[0][:200]
        raise TeacherError(
            f"{where}: cannot be read ({reason}); expected a state dict written by torch.save. It is truncated, "
            "damaged, or holds Python objects other than tensors: get it again, or save `model.state_dict()`."
        ) from error
    if not isinstance(content, dict):
        raise TeacherError(
            f"{where}: holds a {type(content).__name__}; expected a state dict. Save `model.state_dict()`."
        )
    return content


def read_state(path: Path, where: str, advice: Advice = TEACHER) -> dict[str, Tensor]:
    """Return the state dict of a weights file.

    The file is a bare state dict, or a training checkpoint: of the latter `state_dict_backbone` is taken, else the one state dict in it,
    whatever its key. Of several, all are taken, each with its key as a prefix; the network shows which one is meant.
    """
    content = read_tensors(path, where, advice)
    content = content.get("state_dict_backbone", content)
    states = dict(_states(content, ""))
    oddities = filter(None, map(first_oddity, states.values()))
    odd = next(oddities, None) if states else first_oddity(content) or "no keys"
    if odd is not None:
        raise TeacherError(
            f"{where}: holds {odd}; expected named tensors, dense and of real numbers, or a checkpoint with state_dict_backbone or another "
            "state dict. Save `model.state_dict()`."
        )
    if len(states) == 1:
        return next(iter(states.values()))
    return {f"{prefix}{key}": value for prefix, state in states.items() for key, value in state.items()}


def _states(content: Any, prefix: str) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Yield the state dicts in nested dicts, each with the keys that lead to it."""
    if not isinstance(content, dict) or not content or not all(isinstance(key, str) for key in content):
        return
    if all(isinstance(value, Tensor) for value in content.values()):
        yield prefix, content
        return
    for key, value in content.items():
        yield from _states(value, f"{prefix}{key}.")


def infer_embedding_size(
    state: dict[str, Tensor], where: str, of_width: Callable[[int], nn.Module] | None, advice: Advice = TEACHER
) -> int:
    """Return the width of the embedding, read from the weights.

    Two networks of other widths, built without memory, show which tensors have it. Where there is none to build, it is the first dimension
    of the last weight, as in every network of the host.

    Args:
        state: its keys may be in any order, and have a prefix.
        where: the file, for errors.
        of_width: builds the network with another width of its embedding.
        advice: ends the error.
    """
    keys, axes = _axes_of_width(of_width)
    bare = under_prefix(state, keys, where)[1] if keys else state
    for key, axis in axes:
        value = bare.get(key)
        if value is not None and value.ndim > axis:
            return value.shape[axis]
    weights = [value for key, value in state.items() if key.endswith("weight") and value.ndim > 0]
    if not weights:
        raise TeacherError(
            f"{where}: has no weight to read the embedding size from; expected those of a network. {advice.width}"
        )
    return weights[-1].shape[0]


def _axes_of_width(of_width: Callable[[int], nn.Module] | None) -> tuple[list[str], list[tuple[str, int]]]:
    """Return a network's keys; key and dimension of the tensors that are as wide as the embedding."""
    states = None if of_width is None else _of_two_widths(of_width)
    if states is None:
        return [], []
    first, second = states
    return list(first), [
        (key, axis)
        for key, value in first.items()
        for axis, sizes in enumerate(zip(value.shape, second[key].shape, strict=True))
        if sizes == _WIDTHS
    ]


def _of_two_widths(of_width: Callable[[int], nn.Module]) -> list[dict[str, Tensor]] | None:
    """Return a network's state at two widths; None where it cannot be built."""
    for device in ("meta", "cpu"):
        # What is wrong with a network shows when it is built for good, with the error that fits.
        with suppress(Exception), torch.device(device), SchedulesOnCpu(), torch.random.fork_rng(devices=[]):
            return [of_width(width).state_dict() for width in _WIDTHS]
    return None


class SchedulesOnCpu(TorchFunctionMode):
    """Give schedules of drop paths numbers that can be read.

    arcface_torch's ViT takes each from a `linspace` with `item`, which a tensor without data refuses.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = dict(kwargs or {})
        return func(*args, **(given | {"device": "cpu"} if func is torch.linspace else given))


def load_strictly(network: nn.Module, state: dict[str, Tensor], where: str, advice: Advice = TEACHER) -> None:
    """Load a state dict in which every key and shape must fit.

    A prefix that the network's keys have in the file is removed, see `under_prefix`. The counters of batch norms,
    which old files and converters leave out, may be missing, as in torch's own strict load.
    """
    with foreign(where, TeacherError, "a network with a state dict. Correct it.", of=network):
        own = network.state_dict()
    _, state = under_prefix(state, own, where)
    state = {key: value for key, value in own.items() if key.endswith(COUNTER)} | state
    missing = [key for key in own if key not in state]
    unexpected = [key for key in state if key not in own]
    misshapen = [
        f"{key} is {tuple(state[key].shape)}, the network's {tuple(value.shape)}"
        for key, value in own.items()
        if key in state and state[key].shape != value.shape
    ]
    if missing or unexpected or misshapen:
        raise TeacherError(
            f"{where}: {_count(missing, 'missing keys')}, {_count(unexpected, 'unexpected')}, "
            f"{_count(misshapen, 'of another shape')}; not loaded. {advice.keys if missing or unexpected else advice.shapes}"
        )
    with foreign(where, TeacherError, "weights that the network takes. Correct the network, or the file.", of=network):
        network.load_state_dict(state, strict=True)


def _count(items: list[str], what: str) -> str:
    shown = "; ".join(in_one_line(item)[:120] for item in items[:2]) + ("; ..." if len(items) > 2 else "")
    return f"{len(items)} {what}" + (f" ({shown})" if items else "")
