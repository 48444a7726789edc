"""`python -m benchmarks tune`: as many trials for every recipe, the best of each kept."""

import pytest
import torch

from benchmarks.tuning import tune
from insightface_cakd.errors import RunError
from insightface_cakd.experiments.runs import Comparison
from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.recipe import load_recipe
from tests.commands import benchmark


@pytest.fixture
def teacher(tmp_path):
    torch.save(get_model("vit_tiny").eval().state_dict(), tmp_path / "teacher.pt")
    return str(tmp_path / "teacher.pt")


def test_the_best_weights_of_each_recipe_are_written(face_set, teacher, tmp_path):
    words = [
        "--data",
        face_set,
        "--teacher",
        teacher,
        "--factors",
        "0.5,2",
        "--seeds",
        "1",
        "--student-config",
        "faces_cnn_tiny",
    ]
    settings = [
        word
        for one in ("num_epoch=1", "batch_size=12", "warmup_epoch=0", "num_workers=0", "val_targets=['dev']")
        for word in ("--set", one)
    ]
    ran = benchmark("tune", tmp_path / "out", "cosine", "rkd", "adadistill", *words, *settings)
    assert ran.code == 0, ran.err
    table = {
        line.split("|")[1].strip(): line
        for line in ran.out.splitlines()
        if line.startswith("| ") and "x 0.5" not in line
    }
    assert ran.out.count("**") >= 6
    for name in ("cosine", "rkd"):
        tried = {factor: [factor * one.weight for one in load_recipe(name).terms] for factor in (0.5, 2)}
        kept = [one.weight for one in load_recipe(str(tmp_path / "out" / "recipes" / f"{name}.yaml")).terms]
        cells = [cell.strip() for cell in table[name].split("|")[2:4]]
        best = next(factor for factor, cell in zip((0.5, 2), cells, strict=True) if cell.startswith("**"))
        assert kept == tried[best]
        assert float(cells[(0.5, 2).index(best)].strip("*")) == max(float(cell.strip("*")) for cell in cells)
    assert (tmp_path / "out" / "recipes" / "adadistill.yaml").exists()
    runs = {path.parent.name for path in (tmp_path / "out" / "trials" / "1").glob("*/result.json")}
    assert runs == {"alone", "cosine_x0.5", "cosine_x2", "rkd_x0.5", "rkd_x2", "adadistill_x1"}


@pytest.mark.parametrize("factors", [[], [1, 1], [0, 1]])
def test_impossible_factors_are_refused(factors, tmp_path):
    with pytest.raises(RunError, match="expected different numbers above 0"):
        tune(tmp_path / "out", Comparison(("cosine",), (1,)), factors)
    assert not (tmp_path / "out").exists()
