"""The table of a comparison's students at low resolution."""

import re

import pytest
import torch

from benchmarks.low_resolution import bench_low_resolution
from insightface_cakd.errors import EvaluationError
from insightface_cakd.evaluate.execution import Execution
from insightface_cakd.tasks.job import Job
from insightface_cakd.tasks.launch import train

CPU = Execution(torch.device("cpu"))


def test_each_method_has_a_row_with_and_one_without_face_bn_in_both_tables(face_set, tmp_path):
    short = ("batch_size=12", "num_epoch=1", "warmup_epoch=0", "num_workers=0", "device=cpu", "embedding_size=64")
    for seed in (1, 2):
        train(
            Job("faces_cnn_tiny", settings=(*short, f"seed={seed}"), data=face_set, output=tmp_path / f"{seed}/alone")
        )
    both, probe = bench_low_resolution(tmp_path, face_set / "dev.bin", [112, 7], 0.5, CPU).split("\n\n")
    for table, title in ((both, "both images low"), (probe, "one image low, the other full")):
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
        assert rows[0] == [title, "", "112 px", "7 px"]
        assert [row[:2] for row in rows[2:]] == [["alone", ""], ["alone", "FaceBN 0.5"]]
        assert all(re.fullmatch(r"\d+\.\d\d \(\d+\.\d\d\)", cell) for row in rows[2:] for cell in row[2:])
    whole = [table.splitlines()[2].split("|")[3] for table in (both, probe)]
    assert whole[0].strip() == whole[1].strip()


def test_a_folder_without_runs_is_refused(tmp_path):
    with pytest.raises(EvaluationError, match="no finished runs; expected the output folder of `cakd compare`"):
        bench_low_resolution(tmp_path, tmp_path / "dev.bin", [14], 0.5, CPU)
