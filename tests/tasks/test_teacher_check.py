"""check_teacher: a teacher below its floor never reaches step 1."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from easydict import EasyDict

from insightface_cakd.data.bins import write_bin
from insightface_cakd.data.images import encode_png
from insightface_cakd.errors import DataError, TeacherError
from insightface_cakd.recipe import parse_recipe
from insightface_cakd.tasks.task import Task
from insightface_cakd.tasks.teaching import Measured, check_teacher, make_teachers, sets_of
from insightface_cakd.tasks.telling import beginning
from insightface_cakd.teachers import Teacher, TeacherSpec, build_teacher
from tests.teachers.faces import ChannelMeans

CPU = torch.device("cpu")


@pytest.fixture
def colours(tmp_path) -> str:
    """A set of 20 pairs of plain images; a pair is the same person when it is of one colour, red or blue."""
    red, blue = (np.full((112, 112, 3), colour, np.uint8) for colour in ((250, 10, 10), (10, 10, 250)))
    pairs = [(red, red) if number % 2 else (red, blue) for number in range(20)]
    path = tmp_path / "colours.bin"
    write_bin(path, [encode_png(image) for pair in pairs for image in pair], [number % 2 == 1 for number in range(20)])
    return str(path)


def spec(path: str, floor: float, **content) -> TeacherSpec:
    return TeacherSpec.model_validate({"network": "x", "check": {"bin": path, "floor": floor}, **content})


def test_a_teacher_at_its_floor_passes_and_its_accuracy_is_returned(colours):
    assert check_teacher(Teacher(ChannelMeans(), "means", 3, CPU), spec(colours, 1.0), CPU) == Measured(
        "colours", 1.0, 20, 20
    )


def test_a_teacher_that_sees_no_difference_is_stopped_with_both_values(colours):
    class Blind(ChannelMeans):
        def forward(self, images):
            return super().forward(images).abs() * 0 + 1

    line = (
        r"teacher check: colours 0.500 < expected 0.9. Wrong weights, colour order or input range \(it is given rgb, "
    )
    with pytest.raises(TeacherError, match=line):
        check_teacher(Teacher(Blind(), "blind", 3, CPU), spec(colours, 0.9), CPU)


def test_without_a_check_nothing_is_measured():
    assert check_teacher(Teacher(ChannelMeans(), "means", 3, CPU), TeacherSpec(network="x"), CPU) is None


def test_a_missing_set_is_the_sets_own_error(tmp_path):
    with pytest.raises(DataError, match=r"none\.bin"):
        check_teacher(Teacher(ChannelMeans(), "means", 3, CPU), spec(str(tmp_path / "none.bin"), 0.9), CPU)


def test_a_cache_cannot_be_measured(colours):
    with pytest.raises(TeacherError, match=r"teacher check: a cache cannot be measured.*Remove it"):
        check_teacher(Teacher(ChannelMeans(), "means", 3, CPU), spec(colours, 0.9, network="cached"), CPU)


def test_the_pixel_floor_has_its_published_accuracy(shared_data):
    recipe = spec(str(shared_data / "lfw_dev.bin"), 0.7, network="onnx")
    recipe.weights = str(shared_data / "models" / "pixels_floor.onnx")
    teacher = build_teacher(recipe, None, CPU)
    assert teacher.embedding_size == 768
    assert check_teacher(teacher, recipe, CPU).accuracy == pytest.approx(0.7083, abs=0.002)
    recipe.check.floor = 0.75
    with pytest.raises(TeacherError, match=r"teacher check: lfw_dev 0.70\d < expected 0.75"):
        check_teacher(teacher, recipe, CPU)


@pytest.mark.slow
def test_a_published_recogniser_has_its_published_accuracy(shared_data):
    recipe = spec(str(shared_data / "lfw_dev.bin"), 0.99, network="onnx")
    recipe.weights = str(shared_data / "models" / "edgeface_xs.onnx")
    recipe.sha256 = "e897f27ec38ec36c2aba4e31629aa132c81c088d38d8027d02d886707a0a3a4d"
    teacher = build_teacher(recipe, None, CPU)
    assert check_teacher(teacher, recipe, CPU).accuracy == pytest.approx(0.9933, abs=0.002)


class Grey(ChannelMeans):
    """Sees no colours: red and blue are alike to it."""

    def forward(self, images):
        return images.mean(dim=(1, 2, 3))[:, None] + torch.tensor([1.0, 0.0, 0.0])


def means_and_grey(**content):
    """Return a recipe of two teachers, one of which sees no colours."""
    several = {
        "means": {"network": "tests.teachers.faces:ChannelMeans", **content},
        "grey": {"network": f"{__name__}:Grey"},
    }
    return parse_recipe({"teachers": several, "losses": [{"loss": "cosine", "weight": 1}]}, "recipe")


def test_a_runs_sets_measure_its_teachers_and_one_at_chance_is_told(colours):
    cfg = EasyDict(rec=colours.removesuffix("/colours.bin"), val_targets=["colours", "absent"])
    sets = sets_of(cfg, Task())
    assert list(sets) == ["colours"]
    recipe = means_and_grey()
    teaching = make_teachers(SimpleNamespace(get_model=None), recipe, CPU, sets=sets)
    assert teaching.sets == {"colours": 1.0}
    said = list(beginning("two", recipe, teaching, Path("data")))
    assert "means, 100.00 % on colours, " in said[1].replace("tests.teachers.faces:ChannelMeans", "means")
    assert f"{__name__}:Grey, 50.00 % on colours, " in said[2]
    assert said[-1].startswith(
        f"teacher {__name__}:Grey: is no better than chance (50.00 % of 20 pairs): wrong weights, or colours"
    )


def test_what_the_check_measured_is_not_measured_again(colours):
    recipe = means_and_grey(check={"bin": colours, "floor": 0.9})
    del recipe.teachers["grey"]
    sets = {"colours": Path(colours)}
    teaching = make_teachers(SimpleNamespace(get_model=None), recipe, CPU, sets=sets)
    assert teaching.sets == {"colours": 1.0}
    assert teaching.said("means") == [teaching.checked["means"]]


def test_a_task_that_measures_something_else_has_no_sets(colours):
    class Other(Task):
        def measures(self, data, names):
            return {}

    assert sets_of(EasyDict(rec=colours.removesuffix("/colours.bin"), val_targets=["colours"]), Other()) == {}


def test_the_floor_is_measured_in_the_format_that_the_recipe_says(colours):
    recipe = spec(colours, 1.0, channels="bgr", mean=[0.1, 0.2, 0.3])
    recipe.network = "tests.teachers.faces:ChannelMeans"
    assert check_teacher(build_teacher(recipe, None, CPU), recipe, CPU).accuracy == 1.0
