"""RecordIO: what mxnet wrote is read, and what is written is what mxnet would have written."""

import hashlib
import json
import multiprocessing
import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from insightface_cakd.data.images import decode_rgb
from insightface_cakd.data.record import Record
from insightface_cakd.data.recordio import RecordReader, RecordWriter
from insightface_cakd.errors import DataError
from tests.data.record_files import MAGIC, image_record, labelled_record, write_set

SETS = {"insightface": 73, "im2rec": 24, "png": 4, "multipart": 4}


def reader_of(folder: Path) -> RecordReader:
    return RecordReader(folder / "train.rec", folder / "train.idx")


@pytest.mark.parametrize("name", SETS)
def test_every_record_mxnet_wrote_is_read_as_mxnet_reads_it(shared_data: Path, name: str) -> None:
    expected = json.loads((shared_data / "mxnet_fixture" / "expected.json").read_text())["sets"][name]["records"]
    reader = reader_of(shared_data / "mxnet_fixture" / name)
    assert reader.keys.tolist() == [row["key"] for row in expected]
    assert len(expected) == SETS[name]
    for row in expected:
        record = reader.read(row["key"])
        assert (record.flag, list(record.labels)) == (row["flag"], row["label"])
        assert (record.id, record.id2) == (row["id"], row["id2"])
        assert len(record.payload) == row["payload_bytes"]
        assert hashlib.sha256(record.payload).hexdigest() == row["payload_sha256"]
        if record.payload:
            pixels = decode_rgb(record.payload, name)
            assert list(pixels.shape) == row["shape"]
            assert hashlib.sha256(pixels.tobytes()).hexdigest() == row["pixels_sha256"]


@pytest.mark.parametrize("name", SETS)
def test_writing_mxnets_records_again_gives_mxnets_files_byte_for_byte(
    shared_data: Path, tmp_path: Path, name: str
) -> None:
    source = shared_data / "mxnet_fixture" / name
    reader = reader_of(source)
    with RecordWriter(tmp_path / "train.rec", tmp_path / "train.idx") as writer:
        for key in reader.keys.tolist():
            writer.write(key, reader.read(key))
    assert (tmp_path / "train.rec").read_bytes() == (source / "train.rec").read_bytes()
    assert (tmp_path / "train.idx").read_bytes() == (source / "train.idx").read_bytes()


def test_scan_reads_the_headers_that_read_reads(shared_data: Path) -> None:
    for name in SETS:
        reader = reader_of(shared_data / "mxnet_fixture" / name)
        records = [reader.read(key) for key in reader.keys.tolist()]
        full = [(record.flag, record.labels[0], len(record.payload)) for record in records]
        assert reader.scan(reader.keys).tolist() == full


def test_a_label_count_that_contradicts_the_flag_is_refused() -> None:
    with pytest.raises(DataError, match=r"record 5: 3 labels with flag 2; expected 2"):
        Record(2, (1.0, 2.0, 3.0), 5)


def test_a_key_that_stands_twice_means_its_last_line(tmp_path: Path) -> None:
    write_set(tmp_path, {1: image_record(0, 1, b"old"), 2: image_record(0, 2, b"new")})
    (tmp_path / "train.idx").write_text("1\t0\n1\t36\n")
    assert reader_of(tmp_path).read(1).payload == b"new"


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"train\.rec: no such file"):
        reader_of(tmp_path)
    (tmp_path / "train.rec").write_bytes(b"")
    with pytest.raises(DataError, match=r"train\.idx: cannot be read .*belongs beside train\.rec"):
        reader_of(tmp_path)


def test_an_unknown_key_is_reported_with_the_known_range(tmp_path: Path) -> None:
    write_set(tmp_path, {3: image_record(0, 3, b"a"), 9: labelled_record((1, 2), 9)})
    with pytest.raises(DataError, match=r"no key 4; it has 2 keys from 3 to 9"):
        reader_of(tmp_path).read(4)


def test_many_threads_read_the_same_records(shared_data: Path) -> None:
    reader = reader_of(shared_data / "mxnet_fixture" / "insightface")
    keys = reader.keys.tolist() * 20
    alone = [reader.read(key) for key in keys]
    reader.close()
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(reader.read, keys)) == alone


def _read_all(reader: RecordReader) -> str:
    digest = hashlib.sha256()
    for _ in range(3):
        for key in reader.keys.tolist():
            digest.update(reader.read(key).payload)
    return digest.hexdigest()


def test_forked_processes_read_while_the_parent_reads(shared_data: Path) -> None:
    reader = reader_of(shared_data / "mxnet_fixture" / "im2rec")
    expected = _read_all(reader)
    with multiprocessing.get_context("fork").Pool(4) as pool:
        pending = pool.map_async(_read_all, [reader] * 4)
        assert _read_all(reader) == expected
        assert pending.get(timeout=60) == [expected] * 4


def _own_handle(reader: RecordReader, inherited: int, queue: multiprocessing.Queue) -> None:
    queue.put((reader.descriptor() != inherited, len(reader.read(1).payload)))


def test_a_forked_process_opens_the_file_for_itself(tmp_path: Path) -> None:
    write_set(tmp_path, {1: image_record(0, 1, b"data")})
    reader, context = reader_of(tmp_path), multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_own_handle, args=(reader, reader.descriptor(), queue))
    child.start()
    assert queue.get(timeout=30) == (True, 4)
    child.join()


def test_a_pickled_reader_takes_no_handle_along(tmp_path: Path) -> None:
    write_set(tmp_path, {1: image_record(0, 1, b"data")})
    reader = reader_of(tmp_path)
    handle = reader.descriptor()
    copy = pickle.loads(pickle.dumps(reader))
    assert copy.read(1) == reader.read(1)
    copy.close()
    assert os.pread(handle, 4, 0) == MAGIC
    assert reader.read(1).payload == b"data"


def test_handles_do_not_pile_up(tmp_path: Path) -> None:
    write_set(tmp_path, {1: image_record(0, 1, b"data")})
    reader_of(tmp_path).read(1)
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").is_dir() else pytest.skip("no /proc here")
    for _ in range(50):
        reader_of(tmp_path).read(1)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_writer_that_cannot_open_its_index_closes_its_records(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        RecordWriter(tmp_path / "train.rec", tmp_path / "absent" / "train.idx")


def test_records_of_any_length_beside_many_short_ones_are_read_whole(tmp_path: Path) -> None:
    lengths = [0, 1, 7, 300, 5_000, 70_000, 200_000, *[10] * 50]
    payloads = {key: os.urandom(length) for key, length in enumerate(lengths)}
    folder = write_set(tmp_path, {key: image_record(key, key, payload) for key, payload in payloads.items()})
    reader = reader_of(folder)
    for key, payload in payloads.items():
        assert reader.read(key).payload == payload
