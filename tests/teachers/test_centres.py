"""load_centres: a teacher's class centres, shard by shard."""

import subprocess
import sys

import pytest
import torch

from insightface_cakd.errors import TeacherError
from insightface_cakd.teachers import load_centres
from insightface_cakd.teachers.centres import ClassCentres
from tests.conftest import ROOT
from tests.prototype_files import write_folder


def write(path, content):
    torch.save(content, path)
    return str(path)


def test_shards_are_joined_in_the_order_given_from_any_of_the_three_forms(tmp_path):
    rows = torch.randn(6, 4, dtype=torch.float64)
    paths = [
        write(tmp_path / "head_0.pt", {"weight": rows[:3]}),
        write(
            tmp_path / "checkpoint_gpu_1.pt",
            {"epoch": 2, "state_dict_softmax_fc": {"weight": rows[3:5], "cakd.x": rows}},
        ),
        write(tmp_path / "flat.pt", {"state_dict_softmax_fc.weight": rows[5:]}),
    ]
    centres = load_centres(paths).rows()
    assert centres.dtype == torch.float32
    assert torch.equal(centres, rows.float())
    assert torch.equal(load_centres(paths[::-1]).rows(), torch.cat([rows[5:], rows[3:5], rows[:3]]).float())


def test_a_part_of_the_rows_crosses_shards():
    rows = torch.arange(24.0).view(8, 3)
    centres = ClassCentres([rows[:2].half(), rows[2:5], rows[5:]])
    assert centres.shape == (8, 3)
    for start, end in ((0, 8), (1, 2), (1, 6), (2, 5), (4, 8), (3, 3)):
        assert torch.equal(centres.rows(start, end), rows[start:end])


def test_rows_that_are_not_taken_stay_in_their_file(tmp_path):
    """64 MB of centres, of which a rank takes an eighth; the pages of a mapped file are not the process's own memory."""
    head = write(tmp_path / "head.pt", {"weight": torch.randn(1 << 15, 512)})
    script = "import sys; from tests.teachers.own_memory import taken; print(taken(sys.argv[1]))"
    ran = subprocess.run([sys.executable, "-c", script, head], cwd=ROOT, capture_output=True, text=True, check=True)
    assert 8 <= float(ran.stdout) <= 20, ran.stdout


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ({"weight": torch.zeros(3)}, r"teacher.centres\[0\] .*head.pt: holds weight; expected `weight` or"),
        ({"epoch": 1}, r"holds epoch; expected"),
        ({"state_dict_softmax_fc": {}}, r"holds state_dict_softmax_fc; expected"),
        ([1], r"holds a list; expected"),
    ],
)
def test_a_file_without_centres_is_refused(tmp_path, content, line):
    with pytest.raises(TeacherError, match=line):
        load_centres([write(tmp_path / "head.pt", content)])


def test_shards_of_different_heads_are_refused(tmp_path):
    paths = [write(tmp_path / f"{width}.pt", {"weight": torch.zeros(2, width)}) for width in (4, 5)]
    with pytest.raises(TeacherError, match=r"centres\[1\] .*: its rows have 5 values, those of the first file 4"):
        load_centres(paths)


def test_a_missing_file_and_an_empty_list_are_refused(tmp_path):
    with pytest.raises(
        TeacherError, match=r"teacher.centres\[0\] .*none.pt: does not exist; .*Correct teacher.centres"
    ):
        load_centres([str(tmp_path / "none.pt")])
    with pytest.raises(TeacherError, match=r"teacher.centres: is empty"):
        load_centres([])


def test_a_folder_of_prototypes_will_do_and_a_damaged_one_is_refused(tmp_path):
    rows = torch.eye(4)[:, :3] + 0.1
    folder = write_folder(tmp_path / "prototypes", rows.numpy())
    assert torch.equal(load_centres([str(folder)]).rows(), rows)
    head = write(tmp_path / "head.pt", {"weight": torch.ones(2, 3)})
    assert torch.equal(load_centres([str(folder), head]).rows(), torch.cat([rows, torch.ones(2, 3)]))
    (folder / "prototypes.npy").unlink()
    with pytest.raises(TeacherError, match=r"teacher\.centres\[0\] .*prototypes: is damaged"):
        load_centres([str(folder)])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (torch.zeros(4, 3), r"teacher\.centres: 4 of 4 embeddings are all zero"),
        (torch.ones(4, 3), r"teacher\.centres: all 4 embeddings are the same"),
        (torch.eye(4, 3) / 0, r"teacher\.centres: 4 of 4 embeddings are not finite"),
    ],
)
def test_centres_that_say_nothing_are_refused(tmp_path, rows, message):
    with pytest.raises(TeacherError, match=message):
        load_centres([write(tmp_path / "head.pt", {"weight": rows})])
    with pytest.raises(TeacherError, match=message.split(":")[1]):
        load_centres([str(write_folder(tmp_path / "prototypes", rows.numpy()))])
