"""Batches of the loader: pixels, order and mirror images from their definition, whatever the workers."""

import numpy as np
import pytest
import torch

from insightface_cakd.data.records import FaceRecords
from insightface_cakd.errors import DataError
from insightface_cakd.hosts.embedded.dataset import get_dataloader
from insightface_cakd.hosts.embedded.read_batch import Read, collate, normalised
from insightface_cakd.hosts.embedded.shared_pixels import PREFETCH, SharedPixels
from tests.data.record_files import image_record, insightface_set, jpeg, people_folder, write_set

CPU = torch.device("cpu")
SEED, BATCH = 5, 4


def expected_batches(folder, epoch):
    """The whole epoch, item by item, in plain NumPy."""
    faces = FaceRecords(folder)
    order = torch.randperm(len(faces), generator=torch.Generator().manual_seed(SEED + epoch)).tolist()
    images, labels = [], []
    for index in order:
        rgb, label = faces[index]
        if np.random.default_rng((SEED, epoch, index)).random() < 0.5:
            rgb = rgb[:, ::-1]
        scaled = rgb.transpose(2, 0, 1).astype(np.float32) / np.float32(255)
        images.append((scaled - np.float32(0.5)) / np.float32(0.5))
        labels.append(label)
    whole = len(order) // BATCH * BATCH
    return np.stack(images)[:whole], np.array(labels)[:whole]


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_an_epoch_is_what_its_definition_says_with_any_workers(tmp_path, workers):
    folder = insightface_set(tmp_path, [9, 9, 9, 11])
    loader = get_dataloader(str(folder), 0, BATCH, seed=SEED, num_workers=workers, device=CPU)
    for epoch in (0, 1):
        loader.set_epoch(epoch)
        # Kept until the end: what is handed out must not be written again.
        batches = list(loader)
        images, labels = expected_batches(folder, epoch)
        assert torch.equal(torch.cat([batch[0] for batch in batches]), torch.from_numpy(images))
        assert torch.equal(torch.cat([batch[1] for batch in batches]), torch.from_numpy(labels))
        assert all(batch[0].is_contiguous() for batch in batches)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_epoch_that_is_left_leaves_nothing_for_the_next(tmp_path, workers):
    folder = insightface_set(tmp_path, [20, 20])
    loader = get_dataloader(str(folder), 0, BATCH, seed=SEED, num_workers=workers, device=CPU)
    loader.set_epoch(0)
    next(iter(loader))
    loader.set_epoch(1)
    images, _ = expected_batches(folder, 1)
    assert torch.equal(torch.cat([batch[0] for batch in loader]), torch.from_numpy(images))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_damaged_image_is_one_error_with_its_place(tmp_path, workers):
    records = {key: image_record(key % 2, key, b"no image" if key == 3 else jpeg(key)) for key in range(8)}
    loader = get_dataloader(str(write_set(tmp_path, records)), 0, BATCH, num_workers=workers, device=CPU)
    loader.set_epoch(0)
    with pytest.raises(DataError, match=r"train\.rec: record 3 at offset \d+: 8 bytes .* are not an image"):
        list(loader)


def test_a_folder_of_people_gives_the_same_batches_as_its_records(tmp_path):
    folder, records = people_folder(tmp_path / "people", {"a": 4, "b": 6}), {}
    for key, path in enumerate(sorted(folder.rglob("*.jpg"))):
        records[key] = image_record("ab".index(path.parent.name), key, path.read_bytes())
    both = [folder, write_set(tmp_path / "rec", records)]
    ours, theirs = (list(get_dataloader(str(data), 0, 5, num_workers=0, device=CPU)) for data in both)
    assert len(ours) == 2
    assert all(
        torch.equal(a, b) for one, other in zip(ours, theirs, strict=True) for a, b in zip(one, other, strict=True)
    )


def test_every_byte_becomes_the_number_that_arcface_torch_makes_of_it():
    pixels = torch.arange(256, dtype=torch.uint8).view(1, 16, 16, 1).expand(1, 16, 16, 3)
    made = normalised(pixels)
    assert torch.equal(made[0, 1].flatten(), torch.arange(256).float().div(255).sub(0.5).div(0.5))
    assert made.shape == (1, 3, 16, 16)
    assert made.is_contiguous()


def test_only_the_named_rows_are_mirrored():
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (4, 2, 3, 3), np.uint8))
    images, labels = Read(pixels, [np.arange(4)], np.array([1, 3])).on(CPU)
    plain = normalised(pixels)
    assert torch.equal(images[[0, 2]], plain[[0, 2]])
    assert torch.equal(images[[1, 3]], plain[[1, 3]].flip(3))
    assert labels.tolist() == [0, 1, 2, 3]


def test_items_are_joined_and_the_first_error_among_them_is_the_batch():
    item = (torch.arange(12, dtype=torch.uint8).view(3, 2, 2), 7)
    read = collate([item, item])
    images, target = read.on(CPU)
    assert torch.equal(images, (torch.stack([item[0]] * 2).float() / 255 - 0.5) / 0.5)
    assert target.tolist() == [7, 7]
    first = DataError("first")
    assert collate([item, first, DataError("second")]) is first
    assert collate(read) is read


def test_a_place_is_written_again_only_after_all_others():
    shared = SharedPixels(workers=2, batch=1)
    turns = [shared.take()[0] for _ in range(2 * (PREFETCH + 1))]
    assert len(set(turns[: PREFETCH + 1])) == PREFETCH + 1
    assert turns[: PREFETCH + 1] == turns[PREFETCH + 1 :]
    turn, pixels = shared.take()
    pixels[:] = 9
    assert bool((shared.at(turn) == 9).all())
    assert shared.at(turn).is_shared()
