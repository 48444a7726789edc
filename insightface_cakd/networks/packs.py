"""Finds the recogniser of a model pack of InsightFace."""

import json
from collections.abc import Iterator
from pathlib import Path

import onnx

from insightface_cakd.data.images import FACE_SIZE
from insightface_cakd.errors import RunError

# Where insightface keeps the packs that it has downloaded.
STORE = Path("~/.insightface/models")
# With what a pack of `cakd export-pack` says which file is which; one with landmarks has the second.
_LISTS = ("manifest.json", "pack.json")


def recogniser_file(name: str, option: str) -> Path:
    """Return the file of a recogniser.

    Args:
        name: a file, the folder of a run or of a pack, or the name of a pack that insightface has on disk, such as `buffalo_l`.
        option: names it in errors.

    Returns:
        The .onnx of a pack; of everything else the path as it is.

    Raises:
        RunError: no such file, folder or pack, or a pack without one recogniser.
    """
    path = Path(name).expanduser()
    if not path.exists() and path.name == name and not path.suffix:
        path = STORE.expanduser() / name
    if not path.exists():
        known = ", ".join(sorted(one.name for one in STORE.expanduser().glob("*") if one.is_dir())) or "none"
        raise RunError(
            f"{option} {name}: no such file or folder, and no such pack in {STORE} (there: {known}); expected an .onnx, the folder of a "
            "run or of a pack, or the name of a pack. Correct it; insightface downloads a pack with FaceAnalysis(name=NAME)."
        )
    return _in_pack(path, f"{option} {name}") if path.is_dir() and any(path.glob("*.onnx")) else path


def _in_pack(folder: Path, where: str) -> Path:
    found = list(_listed(folder)) or [file for file in sorted(folder.glob("*.onnx")) if _is_recogniser(file)]
    if len(found) != 1:
        said = ", ".join(file.name for file in found) or "none"
        raise RunError(f"{where}: recognisers of this pack: {said}; expected one. Name the .onnx itself.")
    return found[0]


def _listed(folder: Path) -> Iterator[Path]:
    for name in _LISTS:
        if (folder / name).is_file():
            tasks = json.loads((folder / name).read_text(encoding="utf-8")).get("tasks", {})
            if "recognition" in tasks:
                yield folder / tasks["recognition"]["file"]


def _is_recogniser(file: Path) -> bool:
    """Return whether a graph takes one aligned face and gives one answer; the other models of packs take other sizes."""
    graph = onnx.load(str(file), load_external_data=False).graph
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [one for one in graph.input if one.name not in weights]
    if (len(inputs), len(graph.output)) != (1, 1):
        return False
    sides = [size.dim_value for size in inputs[0].type.tensor_type.shape.dim][2:]
    return sides == [FACE_SIZE, FACE_SIZE]
