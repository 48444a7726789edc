"""Headers of .npy and .npz that announce more than the file holds are refused before anything is allocated."""

import resource
import zipfile
from pathlib import Path

import numpy as np
import pytest

from insightface_cakd.data.npy import map_npy, read_member


def npy(shape: str, descr: str = "'<f4'", data: bytes = bytes(64)) -> bytes:
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header.encode() + data


@pytest.mark.parametrize(
    ("shape", "descr"),
    [
        *((shape, "'<f4'") for shape in ("(1000000000000,)", "(2, 9)", "(-1, 16)", "(True, 16)", "(1.0,)", "[4]", "4")),
        *((shape, "'<f4'") for shape in ("(4611686018427387904, 4)", "(99999999999999999999999,)", "(" * 9000)),
        *(("(4, 4)", descr) for descr in ("'|O'", "'<U1000000000'", "'|V0'", "'no'", "[('a', '|O')]", "None")),
    ],
)
def test_a_header_that_does_not_fit_its_file(shape: str, descr: str, tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(npy(shape, descr))
    with pytest.raises(ValueError, match=r".") as caught:
        map_npy(tmp_path / "a.npy")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"\x93NUMPY", b"PK\3\4" + bytes(100), b"\x80\x04N.", npy("(4, 4)")[:100]])
def test_what_is_no_npy(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(data)
    with pytest.raises(ValueError, match=r"a\.npy: "):
        map_npy(tmp_path / "a.npy")
    with pytest.raises(FileNotFoundError):
        map_npy(tmp_path / "gone.npy")


def test_whole_files_are_mapped(tmp_path: Path) -> None:
    for array in (np.arange(12, dtype=np.float32).reshape(3, 4), np.zeros((0, 4)), np.asfortranarray(np.eye(3))):
        np.save(tmp_path / "a.npy", array)
        assert np.array_equal(map_npy(tmp_path / "a.npy"), array)


def test_zeros_that_unpack_to_gigabytes_are_refused(tmp_path: Path) -> None:
    with (
        zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("embs.npy", "w", force_zip64=True) as file,
    ):
        file.write(npy("(2, 33554432)", data=b""))
        for _ in range(16):
            file.write(bytes(1 << 24))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with np.load(tmp_path / "a.npz") as archive:
        assert read_member(archive, "embs_f", 1000) is None
        with pytest.raises(ValueError, match=r"embs takes 268435584 bytes, more than 1000"):
            read_member(archive, "embs", 1000)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 100_000


def test_an_array_below_the_limit_is_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", embs=np.eye(3))
    with np.load(tmp_path / "a.npz") as archive:
        assert np.array_equal(read_member(archive, "embs", 1000), np.eye(3))
