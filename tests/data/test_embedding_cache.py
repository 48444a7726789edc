"""The cache of teacher embeddings: the files, and what is refused."""

import errno
import hashlib
import json
import resource
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from insightface_cakd import __version__
from insightface_cakd.data.answers import looked_at
from insightface_cakd.data.embedding_cache import (
    STORAGES,
    EmbeddingCache,
    image_hash,
    write_cache,
    writing,
)
from insightface_cakd.errors import DataError, TeacherError
from insightface_cakd.networks.image_format import ImageFormat
from insightface_cakd.teachers import Teacher
from tests.teachers.faces import ChannelMeans, as_input, faces


def means() -> Teacher:
    return Teacher(ChannelMeans(), "means", 3, "cpu", sha256="5" * 64)


@pytest.fixture
def cache(tmp_path):
    write_cache(means(), [faces(4), faces(2, seed=1)], tmp_path / "cache")
    return tmp_path / "cache"


def test_what_is_written_is_what_the_teacher_said_about_both_flips(cache):
    opened = EmbeddingCache.open(cache)
    images = torch.cat([as_input(faces(4)), as_input(faces(2, seed=1))])
    images = torch.cat([images, images.flip(-1)])
    torch.testing.assert_close(opened.lookup(image_hash(images)), images.mean(dim=(2, 3)), rtol=1e-3, atol=1e-6)
    assert len(opened) == 12


def test_meta_names_the_teacher_the_data_and_the_version(cache):
    keys = np.load(cache / "keys.npy")
    assert json.loads((cache / "meta.json").read_text()) == {
        "teacher": "means",
        "teacher_sha256": "5" * 64,
        "embedding_size": 3,
        "image_size": 112,
        "images": 6,
        "rows": 12,
        "data": hashlib.sha256(keys.tobytes()).hexdigest(),
        "version": __version__,
        "takes": "rgb, mean 0.5, std 0.5",
        "storage": "float16",
        "format": 1,
    }
    assert keys.dtype == np.int64
    assert (cache / "embeddings.f16").stat().st_size == 12 * 3 * 2
    assert sorted(path.name for path in cache.parent.iterdir()) == ["cache"]


def test_the_fingerprint_of_the_data_does_not_depend_on_order_or_batches(cache, tmp_path):
    joined = torch.cat([faces(4), faces(2, seed=1)]).flip(0)
    again = write_cache(means(), joined.split(1), tmp_path / "again")
    other = write_cache(means(), [faces(4)], tmp_path / "other")
    assert again.data == EmbeddingCache.open(cache).meta.data
    assert other.data != again.data


def test_duplicates_and_symmetric_images_are_one_entry(tmp_path):
    pixels = faces(3)
    pixels[2] = 7
    meta = write_cache(means(), [pixels, pixels.numpy()], tmp_path / "cache")
    assert (meta.images, meta.rows, len(EmbeddingCache.open(tmp_path / "cache"))) == (6, 12, 5)


def test_a_lookup_of_the_largest_and_smallest_hashes_is_a_miss_not_a_crash(cache):
    edges = torch.tensor([(1 << 63) - 1, -(1 << 63)])
    with pytest.raises(TeacherError, match=r"2 of 2 images of the batch are not among its 12"):
        EmbeddingCache.open(cache).lookup(edges)


def test_progress_reports_images_done_and_the_total(tmp_path):
    seen = []
    write_cache(means(), faces(5).split(2), tmp_path / "cache", lambda done, total: seen.append((done, total)), total=5)
    assert seen == [(2, 5), (4, 5), (5, 5)]


def test_an_image_kept_in_int8_is_near(tmp_path):
    """Half a level of 127 for each number, and the scale's own rounding."""
    write_cache(means(), [faces(4), faces(2, seed=1)], tmp_path / "cache", storage="int8")
    images = torch.cat([as_input(faces(4)), as_input(faces(2, seed=1))])
    expected = images.mean(dim=(2, 3))
    found = EmbeddingCache.open(tmp_path / "cache").lookup(image_hash(images))
    largest = expected.abs().amax(dim=1, keepdim=True)
    assert ((found - expected).abs() <= largest * (0.5 / 127 + 2**-10)).all()
    assert not torch.equal(found, expected)
    assert (tmp_path / "cache" / "embeddings.i8").stat().st_size == 12 * (3 + 2)


def test_int8_keeps_the_direction_of_an_embedding():
    drawn = torch.randn(100, 512, generator=torch.Generator().manual_seed(0))
    found = STORAGES["int8"].decode(STORAGES["int8"].encode(drawn))
    assert torch.nn.functional.cosine_similarity(found, drawn).min() > 0.9999


def test_opening_reads_neither_tables_nor_embeddings(tmp_path):
    """A sparse file of a gigabyte: what is read of it comes into memory."""
    count = 1 << 26
    folder = tmp_path / "cache"
    write_cache(means(), [faces(4)], folder)
    meta = json.loads((folder / "meta.json").read_text()) | {"rows": count}
    (folder / "meta.json").write_text(json.dumps(meta))
    for name in ("keys.npy", "rows.npy"):
        np.lib.format.open_memmap(folder / name, mode="w+", dtype=np.int64, shape=(count,)).flush()
    keys = np.lib.format.open_memmap(folder / "keys.npy", mode="r+")
    at = looked_at(count - 1)
    keys[at], keys[at + 1] = 2 * at, 2 * at + 1
    seen = looked_at(count)
    rows = np.lib.format.open_memmap(folder / "rows.npy", mode="r+")
    rows[seen] = seen
    embeddings = np.memmap(folder / "embeddings.f16", dtype=np.float16, mode="r+", shape=(count, 3))
    embeddings[seen] = np.random.default_rng(0).standard_normal((len(seen), 3))
    del keys, rows, embeddings
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    cache = EmbeddingCache.open(folder)
    assert len(cache) == count
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 << 10, "more than 100 MiB of 1.4 GiB"


def test_a_row_that_points_behind_the_end_is_found_when_it_is_looked_up(cache):
    opened = EmbeddingCache.open(cache)
    beyond = replace(opened, rows=np.full(12, 99))
    with pytest.raises(TeacherError, match=r"is damaged \(rows\.npy points at row 99 of 12\)"):
        beyond.lookup(image_hash(as_input(faces(4))))


class Levels(nn.Module):
    """Zero for a grey image, as a network without bias."""

    def forward(self, images: Tensor) -> Tensor:
        return (images.mean(dim=(2, 3)) * 127.5 + 0.5).round()


class Says(nn.Module):
    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, images: Tensor) -> Tensor:
        return torch.full((len(images), 3), self.value)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (float("nan"), r"teacher says: 2 of 2 embeddings are not finite; expected numbers\. Nothing is written"),
        (float("inf"), r"teacher says: 2 of 2 embeddings are not finite"),
        (0.0, r"teacher says: 2 of 2 embeddings are all zero, the first is number 0; expected directions"),
        (1.0, r"teacher says: all 4 embeddings are the same; expected different ones"),
    ],
)
def test_embeddings_that_say_nothing_are_refused_and_nothing_is_left(tmp_path, value, message):
    with pytest.raises(TeacherError, match=message):
        write_cache(Teacher(Says(value), "says", 3, "cpu"), [faces(2)], tmp_path / "cache")
    assert not list(tmp_path.iterdir())


def test_one_image_that_says_nothing_among_others_is_named(tmp_path):
    dark = torch.full((1, 112, 112, 3), 127, dtype=torch.uint8)
    teacher = Teacher(Levels(), "levels", 3, "cpu")
    with pytest.raises(TeacherError, match=r"1 of 1 embeddings are all zero, the first is number 8; expected"):
        write_cache(teacher, [faces(4), dark], tmp_path / "cache")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (0, "12 of 12 embeddings are all zero"),
        (1, "all 12 embeddings are the same"),
        (np.nan, "12 of 12 embeddings are not"),
    ],
)
def test_a_cache_that_says_nothing_is_refused_when_it_is_opened(cache, value, message):
    rows = np.memmap(cache / "embeddings.f16", dtype=np.float16, mode="r+")
    rows[:] = value
    rows.flush()
    with pytest.raises(
        TeacherError, match=rf"teacher cache .*cache: {message}.*Write it again with `cakd data cache-t"
    ):
        EmbeddingCache.open(cache)


def test_a_cache_of_an_earlier_version_is_of_rgb(cache):
    meta = json.loads((cache / "meta.json").read_text())
    del meta["takes"], meta["storage"]
    (cache / "meta.json").write_text(json.dumps(meta))
    opened = EmbeddingCache.open(cache).meta
    assert (opened.takes, opened.storage) == (str(ImageFormat()), "float16")


@pytest.mark.parametrize("value", [1e6, 1e-7])
def test_embeddings_that_half_precision_cannot_hold_are_refused(tmp_path, value):
    teacher = Teacher(Says(value), "says", 3, "cpu")
    with pytest.raises(TeacherError, match=r"teacher says: half precision changes an embedding by .* of its length"):
        write_cache(teacher, [faces(2)], tmp_path / "cache")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("batches", "line"),
    [
        ([], r"no image came; expected at least one"),
        (
            [torch.zeros(2, 3, 112, 112, dtype=torch.uint8)],
            r"a batch is \(2, 3, 112, 112\) of torch.uint8; expected \(B, S",
        ),
        ([torch.zeros(2, 112, 112, 3)], r"a batch is \(2, 112, 112, 3\) of torch.float32"),
        ([faces(1), faces(1, side=96)], r"a batch is \(1, 96, 96, 3\) .*; expected \(B, 112, 112, 3\)"),
    ],
)
def test_other_batches_are_refused_and_nothing_is_left(tmp_path, batches, line):
    with pytest.raises(DataError, match=f"cache .*: {line}"):
        write_cache(means(), batches, tmp_path / "cache")
    assert not list(tmp_path.iterdir())


def test_two_images_of_one_hash_are_found_out_when_writing(tmp_path, monkeypatch):
    monkeypatch.setattr(
        writing, "image_hash", lambda x, seed=0: image_hash(x, seed) if seed else torch.zeros(len(x)).long()
    )
    with pytest.raises(DataError, match=r"two different images have one 64-bit hash"):
        write_cache(means(), [faces(2)], tmp_path / "cache")
    assert not list(tmp_path.iterdir())


def test_a_folder_in_use_is_not_touched(cache):
    before = (cache / "meta.json").read_bytes()
    with pytest.raises(DataError, match=r"cache: exists already; expected a new or empty folder"):
        write_cache(means(), [faces(1)], cache)
    assert (cache / "meta.json").read_bytes() == before


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(writing.np, "save", full)
    with pytest.raises(DataError, match=r"cache .*: cannot be written \(.*No space left on device\)"):
        write_cache(means(), [faces(1)], tmp_path / "cache")
    assert not list(tmp_path.iterdir())


def damage_meta(folder):
    (folder / "meta.json").write_text("{}")


def damage_size(folder):
    with (folder / "embeddings.f16").open("ab") as file:
        file.truncate(10)


def damage_order(folder):
    np.save(folder / "keys.npy", np.load(folder / "keys.npy")[::-1])


def damage_rows(folder):
    np.save(folder / "rows.npy", np.load(folder / "rows.npy") + 1)


def damage_keys(folder):
    (folder / "keys.npy").write_bytes((folder / "keys.npy").read_bytes()[:-8])


def lose_rows(folder):
    (folder / "rows.npy").unlink()


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (damage_meta, "meta.json is not of format 1"),
        (damage_size, "embeddings.f16 has 10 bytes, 12 rows of 3 need 72"),
        (damage_order, "are no table of at most 12 ascending hashes"),
        (damage_rows, "rows.npy points at row 12 of 12"),
        (damage_keys, ""),
        (lose_rows, "No such file"),
    ],
)
def test_a_damaged_cache_is_one_line(cache, damage, reason):
    damage(cache)
    with pytest.raises(
        TeacherError, match=rf"teacher cache .*: is damaged \(.*{reason}.*Write it again with"
    ) as caught:
        EmbeddingCache.open(cache)
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_no_cache_is_refused(tmp_path):
    with pytest.raises(TeacherError, match=r"teacher cache .*: has no meta.json; expected a folder written by"):
        EmbeddingCache.open(tmp_path)
