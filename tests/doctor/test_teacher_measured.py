"""The doctor measures a teacher, in both orders of colours, and what the student starts from."""

import re

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from insightface_cakd.data.bins import load_bin, write_bin
from insightface_cakd.data.images import encode_png
from insightface_cakd.doctor.teaching import examine_teachers
from insightface_cakd.evaluate.pairs.separation import gain_in_separation, separation
from insightface_cakd.recipe import parse_recipe
from insightface_cakd.tasks.teaching import make_teachers
from tests.evaluate.verification_files import write_set

CPU = torch.device("cpu")


class Reds(torch.nn.Module):
    """Looks at the first channel, in a 4 x 4 grid."""

    def __init__(self, first: int = 0) -> None:
        super().__init__()
        self.first = first

    def forward(self, images):
        """Return (B, 16)."""
        return torch.nn.functional.adaptive_avg_pool2d(images[:, self.first], 4).flatten(1)


def examined(recipe, sets, start=None):
    teaching = make_teachers(type("host", (), {"get_model": None}), recipe, CPU, checks=False)
    return list(examine_teachers(recipe, teaching, sets, CPU, start))


def recipe_of(**teacher):
    return parse_recipe({"teacher": teacher, "losses": [{"loss": "cosine", "weight": 1}]}, "recipe")


@pytest.fixture
def red_faces(tmp_path):
    """A set whose faces differ in red only; the other channels are noise."""
    pairs = load_bin(write_set(tmp_path / "all.bin", 200))
    random = np.random.default_rng(5)
    coarse = (
        random.integers(0, 256, (len(pairs.images), 4, 4, 2)).astype(np.uint8).repeat(28, axis=1).repeat(28, axis=2)
    )
    images = np.concatenate([pairs.images[..., :1], coarse], axis=-1)
    write_bin(tmp_path / "red.bin", [encode_png(image) for image in images], pairs.same)
    return {"red": tmp_path / "red.bin"}


def test_the_order_that_fits_is_told(red_faces):
    right = examined(recipe_of(network=f"{__name__}:Reds"), red_faces)
    assert [finding.kind for finding in right] == ["ok", "ok"]
    assert "on red, given rgb, mean 0.5, std 0.5" in right[0].text
    assert right[1].text.endswith("as rgb: rgb fits")
    wrong = examined(recipe_of(network=f"{__name__}:Reds", channels="bgr"), red_faces)
    assert wrong[-1].kind == "note"
    assert wrong[-1].text.endswith("as bgr: rgb fits better. Set teacher.channels: rgb.")
    assert any("no better than chance" in finding.text for finding in wrong)


def test_orders_that_make_no_difference_are_left_open(red_faces):
    told = examined(recipe_of(network="tests.teachers.faces:ChannelMeans"), red_faces)
    assert told[-1].text.endswith("no difference that these pairs show")


def test_a_student_that_starts_above_its_teacher_is_told(red_faces):
    weak = examined(recipe_of(network=f"{__name__}:Reds", channels="bgr"), red_faces, Reds())
    assert weak[-1].kind == "note"
    assert re.match(r"the teacher \(\d\d\.\d\d %\) is below the student before its first step \(", weak[-1].text)
    strong = examined(recipe_of(network=f"{__name__}:Reds"), red_faces, Reds(first=2))
    assert strong[-1].text.startswith("student before its first step: ")
    assert strong[-1].kind == "ok"


def test_separation_by_hand():
    same = torch.tensor([True, True, False, False]).numpy()
    distances = torch.tensor([0.0, 2.0, 3.0, 5.0], dtype=torch.float64).numpy()
    # Means 1 and 4, both variances 1.
    assert separation(distances, same) == pytest.approx(3.0)
    again = gain_in_separation(distances, distances, same)
    assert (again.low, again.high) == (0, 0)


def as_bgr(path, out):
    """Write a published recogniser with its first step turned around: it takes BGR, and answers as before."""
    model = onnx.load(path)
    for node in model.graph.node:
        node.input[:] = ["turned" if name == "input" else name for name in node.input]
    model.graph.initializer.append(helper.make_tensor("order", TensorProto.INT64, [3], [2, 1, 0]))
    model.graph.node.insert(0, helper.make_node("Gather", ["input", "order"], ["turned"], "turn", axis=1))
    onnx.save(model, out)
    return str(out)


@pytest.mark.slow
def test_a_published_recogniser_made_to_take_bgr_is_found_out(shared_data, tmp_path):
    weights = as_bgr(shared_data / "models" / "edgeface_xs.onnx", tmp_path / "bgr.onnx")
    sets = {"lfw_dev": shared_data / "lfw_dev.bin"}
    wrong = examined(recipe_of(network="onnx", weights=weights), sets)
    right = examined(recipe_of(network="onnx", weights=weights, channels="bgr"), sets)
    numbers = "98.83 % of 600 pairs (separation 5.68)", "99.33 % of 600 pairs (separation 6.10)"
    assert (
        wrong[-1].text
        == f"teacher bgr.onnx: {numbers[1]} on lfw_dev as bgr, {numbers[0]} as rgb: bgr fits better. Set teacher.channels: bgr."
    )
    assert right[-1].text == f"teacher bgr.onnx: {numbers[0]} on lfw_dev as rgb, {numbers[1]} as bgr: bgr fits"
