"""Embeds many photos, and says which gave no face."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from insightface_cakd.api.recogniser import CHUNK, Recogniser
from insightface_cakd.data.align.given import look_at
from insightface_cakd.data.folders import image_files
from insightface_cakd.errors import DataError
from insightface_cakd.evaluate.identify.folders import Faults
from insightface_cakd.runtime.atomic import writing
from insightface_cakd.runtime.progress import Progress


@dataclass(frozen=True, eq=False)
class PhotoEmbeddings:
    """Embeddings of photos by file, and the photos without one.

    Args:
        embeddings: float32 (N, D), not normalised.
        files: N paths, as they were given.
        left_out: `path: why`, of photos in which no face was taken, or that could not be read.
    """

    embeddings: np.ndarray
    files: list[str]
    left_out: list[str]

    def save(self, path: Path) -> None:
        """Write an .npz with `embeddings`, `files` and `left_out`."""
        if path.suffix.lower() != ".npz":
            raise DataError(f"{path}: expected a name that ends in .npz. Rename it.")
        with writing(path, DataError) as temporary, temporary.open("wb") as file:
            files, left_out = (np.array(texts, str) for texts in (self.files, self.left_out))
            np.savez(file, embeddings=self.embeddings, files=files, left_out=left_out)

    def summary(self) -> str:
        """Return their number, and a line for each photo left out."""
        count, width = self.embeddings.shape
        return "\n".join([f"{count} embeddings of {width} numbers", *(f"left out, {line}" for line in self.left_out)])


def find_files(places: Sequence[Path]) -> list[Path]:
    """Return the named files, and the images in named folders.

    Those lie at any depth.

    Raises:
        DataError: a folder has no images.
    """
    files: list[Path] = []
    for place in places:
        found = image_files(place) if place.is_dir() else [place]
        if not found:
            raise DataError(f"{place}: a folder without images; expected photos or faces. Correct the path.")
        files += found
    return files


def embed_photos(
    model: Recogniser,
    files: Sequence[Path],
    max_corrupt: int = 0,
    batch_size: int = 64,
    progress: Progress | None = None,
) -> PhotoEmbeddings:
    """Embed photos, or aligned faces.

    Args:
        model: with a detector, for photos.
        files: of the images.
        max_corrupt: so many that cannot be read may be left out.
        batch_size: images per forward.
        progress: called with (files done, files in all).

    Raises:
        DataError: a file too many cannot be read, or is a photo while the model has no detector; or no file gives a face.
    """
    rows, kept, left_out, faults = [], list[str](), list[str](), Faults(max_corrupt)
    for start in range(0, len(files), CHUNK):
        faces = []
        for path in files[start : start + CHUNK]:
            try:
                found = look_at(path, model.detector, model.rules)
            except DataError as error:
                faults.add(error)
                continue
            if found.face is None:
                left_out.append(f"{path}: {found.why}")
                continue
            faces.append(found.face)
            kept.append(str(path))
        if faces:
            rows.append(model.embed(np.stack(faces), batch_size))
        if progress:
            progress(min(start + CHUNK, len(files)), len(files))
    left_out += faults.lines
    if not rows:
        raise DataError(f"embed: none of {len(files)} files gives a face ({left_out[0]}); expected some. Look at them.")
    return PhotoEmbeddings(np.concatenate(rows), kept, left_out)
