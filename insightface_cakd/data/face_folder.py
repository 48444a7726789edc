"""Opens a folder of training faces, whatever lies in it."""

from pathlib import Path

from insightface_cakd.data.folder_faces import FolderFaces
from insightface_cakd.data.records import FaceRecords, has_records
from insightface_cakd.data.shards import SHARDS, ShardedFaces

Faces = FaceRecords | ShardedFaces | FolderFaces


def open_face_folder(folder: str | Path) -> Faces:
    """Open a folder with train.rec, with shards.yaml, or one of people."""
    return open_records_of(folder) or FolderFaces(folder)


def open_records_of(folder: str | Path) -> FaceRecords | ShardedFaces | None:
    """Open train.rec or shards.yaml of a folder; None without them."""
    if has_records(folder):
        return FaceRecords(folder)
    return ShardedFaces(folder) if Path(folder, SHARDS).exists() else None
