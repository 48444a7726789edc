"""Known recognisers on real faces, side by side: their published accuracies, what is chance and what is not."""

import json

import pytest

from tests.commands import cakd


@pytest.mark.slow
def test_siblings_cannot_be_told_apart_and_the_floor_can(shared_data, tmp_path):
    """Accuracies: data/models/README.md."""
    models = [shared_data / "models" / f"{name}.onnx" for name in ("edgeface_xxs", "edgeface_xs", "pixels_floor")]
    ran = cakd("eval", "compare", *models, "--sets", shared_data / "lfw_dev.bin", "--out", tmp_path / "out")
    assert ran.code == 0, ran.err
    found = json.loads((tmp_path / "out" / "compare.json").read_text())["models"]
    accuracies = {name: one["accuracy"] for name, one in found.items()}
    expected = {"edgeface_xxs": 0.9917, "edgeface_xs": 0.9933, "pixels_floor": 0.7083}
    assert accuracies == pytest.approx(expected, abs=5e-5)
    against = {name: one["against_baseline"] for name, one in found.items()}
    assert against["edgeface_xs"]["p_mcnemar_exact"] > 0.05
    assert against["edgeface_xs"]["interval"][0] <= 0 <= against["edgeface_xs"]["interval"][1]
    assert against["pixels_floor"]["p_mcnemar_exact"] < 1e-20
    assert against["pixels_floor"]["interval"][1] < -0.2
    cost = {name: one["milliseconds"]["median"] for name, one in found.items()}
    assert cost["pixels_floor"] < cost["edgeface_xxs"] < cost["edgeface_xs"]


@pytest.mark.slow
def test_models_of_two_spaces_need_a_new_gallery(shared_data, tmp_path):
    models = [shared_data / "models" / f"{name}.onnx" for name in ("edgeface_xs", "edgeface_xxs")]
    ran = cakd("eval", "mixed", *models, shared_data / "lfw_dev.bin", "--json", tmp_path / "mixed.json")
    assert ran.code == 0, ran.err
    (found,) = json.loads((tmp_path / "mixed.json").read_text())["sets"]
    assert [round(case["accuracy"], 4) for case in found["cases"][:2]] == [0.9933, 0.9917]
    assert found["loss_interval"][0] > 0.3
    assert "the loss is real: enrol again, or accept it" in ran.out
