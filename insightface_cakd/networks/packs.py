"""Finds the recogniser of a model pack of InsightFace."""

from pathlib import Path

from insightface_cakd.data.images import FACE_SIZE
from insightface_cakd.errors import RunError
from insightface_cakd.networks.onnx import side_of

# Where insightface keeps the packs that it has downloaded.
STORE = Path("~/.insightface/models")


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
    # The other models of packs take images of other sizes: detectors 640, landmarks 192, gender and age 96.
    found = [file for file in sorted(folder.glob("*.onnx")) if side_of(file) == FACE_SIZE]
    if len(found) != 1:
        said = ", ".join(file.name for file in found) or "none"
        raise RunError(f"{where}: recognisers of this pack: {said}; expected one. Name the .onnx itself.")
    return found[0]
