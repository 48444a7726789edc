"""What the tests may use when it is there: real data beside the checkout, a copy of arcface_torch."""

import os
from pathlib import Path

import pytest
import torch

from insightface_cakd.data.faces import write_face_set
from insightface_cakd.data.faces.sets import draw_folders
from insightface_cakd.data.pack import pack

# One thread, unless a run asks whether more of them change a result.
torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))

ROOT = Path(__file__).resolve().parent.parent


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let tests/losses try a loss of another package."""
    parser.addoption(
        "--loss",
        action="append",
        help="package.module:Class of your own: `pytest tests/losses --loss ...` tries it alone",
    )


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real faces, recognisers and files written by mxnet; skips where it is absent."""
    folder = Path(os.environ.get("CAKD_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set CAKD_DATA to the folder that holds lfw_train/ and models/")
    return folder


@pytest.fixture(scope="session")
def arcface_torch() -> Path:
    """The user's checkout of recognition/arcface_torch; skips where ARCFACE_TORCH names none."""
    folder = os.environ.get("ARCFACE_TORCH", "")
    if not folder or not (Path(folder) / "partial_fc_v2.py").is_file():
        pytest.skip("ARCFACE_TORCH names no arcface_torch checkout; set it to the folder that holds train_v2.py")
    return Path(folder)


@pytest.fixture(scope="session")
def face_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with train.rec of 12 drawn people and dev.bin of others; not to be written to."""
    folder = tmp_path_factory.mktemp("faces") / "data"
    write_face_set(folder, people=12, pictures=4, pairs=20, seed=7)
    return folder


@pytest.fixture(scope="session")
def four_faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with train.rec of two pictures of each of two people: two steps of two images, for large networks."""
    folder = tmp_path_factory.mktemp("four")
    draw_folders(folder / "people", range(2), pictures=2, seed=7)
    pack(folder / "people", folder / "data")
    return folder / "data"
