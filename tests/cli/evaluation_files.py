"""What the evaluations of a test need."""

from pathlib import Path

from tests.data.record_files import people_folder
from tests.evaluate.verification_files import write_set
from tests.networks.onnx_models import channel_means


def write_evaluation_files(folder: Path) -> None:
    """Write two sets, two recognisers of three numbers, and people."""
    write_set(folder / "sets" / "a.bin", 20, seed=1)
    write_set(folder / "sets" / "b.bin", 30, seed=2)
    channel_means(folder / "old.onnx")
    channel_means(folder / "new.onnx", batch=1)
    people_folder(folder / "people", {"x": 2, "y": 3})
    people_folder(folder / "others" / "z", {"z": 6, "y": 4})
