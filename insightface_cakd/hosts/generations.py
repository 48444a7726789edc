"""The files of a checkpoint: one a rank, all whole.

Each rank writes `checkpoint_gpu_K.next.pt`; when every rank has, each renames its own to arcface_torch's `checkpoint_gpu_K.pt`.
A kill at any moment leaves one whole generation at least: all ranks have the new file under one of the two names, or all have
the old one.

`torch.distributed.checkpoint` is not used: arcface_torch could not read its folders, and its metadata are a pickle that may run
code when it is read.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch

from insightface_cakd.errors import RunError, in_one_line
from insightface_cakd.runtime.atomic import put
from insightface_cakd.runtime.ranks import barrier, rank, world_size
from insightface_cakd.runtime.reading import reading
from insightface_cakd.runtime.tensor_file import first_oddity, save_atomically

# arcface_torch's keys, and the types of their values.
KEYS = {
    "epoch": int,
    "global_step": int,
    "state_dict_backbone": dict,
    "state_dict_softmax_fc": dict,
    "state_optimizer": dict,
    "state_lr_scheduler": dict,
}
# Keys that not every checkpoint has, and the types of their values.
_OPTIONAL = {
    "world_size": int,
    "images": int,
    "best": dict,
    "improved": bool,
    "state_grad_scaler": dict,
    "state_rng": dict,
}
_COUNTS = {"epoch": 0, "global_step": 0, "world_size": 1, "images": 0}
_NAME = re.compile(r"checkpoint_gpu_(\d+)(\.next)?\.pt")
_EXPECTED = "a checkpoint of this host or of arcface_torch. Start a new run."


def checkpoint_path(output: Path, rank: int) -> Path:
    """Return the path of a rank's checkpoint, named as in arcface_torch."""
    return output / f"checkpoint_gpu_{rank}.pt"


def is_checkpoint(file: object) -> bool:
    """Return whether a file is a rank's checkpoint, named as text.

    So arcface_torch names it; this package's own reads and writes name theirs by a path.
    """
    return isinstance(file, str) and _NAME.fullmatch(Path(file).name) is not None


def has_keys(content: object) -> bool:
    """Return whether what is saved has the keys of a checkpoint."""
    return isinstance(content, dict) and KEYS.keys() <= content.keys()


def _next_path(output: Path, rank: int) -> Path:
    return output / f"checkpoint_gpu_{rank}.next.pt"


class Moment(NamedTuple):
    """When a checkpoint was written: completed epochs, and batches in all."""

    epoch: int
    step: int


@dataclass(frozen=True)
class Generation:
    """A checkpoint of all ranks.

    Args:
        moment: the same in each file.
        files: one a rank, in their order.
    """

    moment: Moment
    files: tuple[Path, ...]

    def read(self, rank: int, lazily: bool = False) -> dict[str, Any]:
        """Return the content of a rank's file.

        Args:
            rank: of the run that saved it.
            lazily: leave tensors in the file until they are used.
        """
        return _read(self.files[rank], lazily)


def commit(content: Mapping[str, Any], output: Path) -> None:
    """Write this rank's file of a checkpoint; all ranks call it.

    Args:
        content: with `KEYS`, equal in `epoch` and `global_step` on all ranks.
        output: folder of the run.
    """
    save_atomically(dict(content), _next_path(output, rank()), durable=True)
    barrier()
    put(_next_path(output, rank()), checkpoint_path(output, rank()))
    if rank() == 0:
        for path, (number, _) in _files(output).items():
            if number >= world_size():
                path.unlink(missing_ok=True)


def newest(output: Path, where: str = "--resume") -> Generation:
    """Return the newest checkpoint that all ranks of a run have written.

    Args:
        output: folder of the run.
        where: names what asked for it, in errors.

    Raises:
        RunError: there is none, a file is damaged, or files of different epochs lie together and none of them is whole.
    """
    whole = _whole(output, where)
    if whole:
        return whole[-1]
    found = _files(output)
    if all(is_next for _, is_next in found.values()):
        raise RunError(
            f"{where}: {checkpoint_path(output, 0)} does not exist; expected the checkpoint of a run that was stopped. Start it without "
            "--resume."
        )
    raise RunError(_not_whole(output, where, found))


def exists(output: Path) -> bool:
    """Return whether a folder has a checkpoint, whole or not.

    What a run left that was stopped while it wrote its first one is none.
    """
    return not all(is_next for _, is_next in _files(output).values()) or bool(_whole(output, "--output"))


def _whole(output: Path, where: str) -> list[Generation]:
    """Return what all ranks of a run have written, the newest last."""
    found = _files(output)
    kept = max((number for number, is_next in found.values() if not is_next), default=0) + 1
    ranks: dict[tuple[Moment, int], dict[int, Path]] = {}
    for path, (number, _) in found.items():
        content = _read(path, lazily=True, where=where)
        # arcface_torch does not say how many ranks there were: then it is the number of files.
        key = Moment(content["epoch"], content["global_step"]), content.get("world_size", kept)
        # A rank's file of the same moment under both names: the one that has its lasting name comes last.
        ranks.setdefault(key, {})[number] = path
    return [
        Generation(moment, tuple(files[number] for number in range(count)))
        for (moment, count), files in sorted(ranks.items(), key=lambda item: item[0])
        if count <= len(files) and set(range(count)) <= files.keys()
    ]


def _not_whole(output: Path, where: str, found: Mapping[Path, tuple[int, bool]]) -> str:
    said = []
    for path in sorted(found, key=lambda path: found[path]):
        content = _read(path, lazily=True)
        ranks = f" of {content['world_size']} ranks" if "world_size" in content else ""
        said.append(f"{path.name}: epoch {content['epoch']}, step {content['global_step']}{ranks}")
    return (
        f"{where}: {output}: no checkpoint that all ranks have written ({'; '.join(said[:8])}); expected the same epoch and step from "
        "every rank. Copy the folder again with all its files, or start a new run."
    )


def settle(output: Path, generation: Generation | None) -> None:
    """Give a checkpoint its lasting names, and remove younger files.

    Rank 0 does it, once every rank has read; so a run never mixes what two runs wrote.

    Args:
        output: folder of the run.
        generation: that the run continues from; None for a new run.
    """
    barrier()
    if rank() == 0:
        for number, path in enumerate(generation.files if generation else ()):
            if path != checkpoint_path(output, number):
                put(path, checkpoint_path(output, number))
        for path, (_, is_next) in _files(output).items():
            if is_next:
                path.unlink()
    barrier()


def _files(output: Path) -> dict[Path, tuple[int, bool]]:
    """Return rank and whether it is the next one, of each file."""
    if not output.is_dir():
        return {}
    # Files with their lasting names come last.
    named = {
        path: _NAME.fullmatch(path.name)
        for path in sorted(output.iterdir(), key=lambda path: ".next." not in path.name)
    }
    return {path: (int(match[1]), match[2] is not None) for path, match in named.items() if match}


def _read(path: Path, lazily: bool = False, where: str = "--resume") -> dict[str, Any]:
    with reading(f"{where}: {path}", RunError, _EXPECTED, Exception):
        content = _load(path, lazily)
    kinds = {key: content.get(key) for key in KEYS} if isinstance(content, dict) else dict.fromkeys(KEYS)
    wrong = [key for key, kind in KEYS.items() if not isinstance(kinds[key], kind)]
    if wrong:
        raise RunError(f"{where}: {path} lacks {', '.join(wrong)}; expected {_EXPECTED}")
    if (problem := _problem(content)) is not None:
        raise RunError(f"{where}: {path}: {problem}; expected {_EXPECTED}")
    return content


def _problem(content: Mapping[str, Any]) -> str | None:
    """Return what is wrong with the values of a checkpoint that has its keys."""
    for key, kind in _OPTIONAL.items():
        if key in content and not isinstance(content[key], kind):
            return f"{key} is a {type(content[key]).__name__}"
    for key, least in _COUNTS.items():
        if not least <= content.get(key, least) < 2**62:
            return f"{key} is {content[key]}"
    if (odd := first_oddity(content["state_dict_backbone"])) is not None:
        return f"state_dict_backbone holds {odd}"
    name = next((name for name in content["state_dict_softmax_fc"] if not isinstance(name, str)), None)
    return None if name is None else f"state_dict_softmax_fc holds {in_one_line(repr(name))[:80]} as a name"


def _load(path: Path, lazily: bool) -> Any:
    if lazily:
        try:
            return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        # torch's older format cannot be mapped.
        except (RuntimeError, ValueError):
            pass
    return torch.load(path, map_location="cpu", weights_only=True)
