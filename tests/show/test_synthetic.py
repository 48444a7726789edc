"""`cakd show synthetic`: the hardest and the easiest faces of a run, on the run's own generator."""

import numpy as np
import pytest
import torch

from insightface_cakd.errors import RunError
from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.show.synthetic import look_at_faces
from tests.commands import cakd, refused, train, write_recipe

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def finished(face_set, tmp_path_factory):
    """A folder with a run of generated faces, one of real ones and one of another task."""
    folder = tmp_path_factory.mktemp("synthetic")
    torch.save(get_model("cnn_tiny", num_features=64).state_dict(), folder / "teacher.pt")
    recipe = write_recipe(folder / "r.yaml", network="cnn_tiny", weights=str(folder / "teacher.pt"))
    plain = recipe.read_text()
    for name, task in (
        ("generated", "task: {kind: synthetic, images: 24}\n"),
        ("real", "task: {kind: synthetic, images: 24, real: 1}\n"),
        ("people", ""),
    ):
        recipe.write_text(task + plain)
        ran = cakd(*train(face_set, "--distill", recipe, output=folder / name, val_targets=[]))
        assert ran.code == 0, ran.err
    return folder


def test_the_sheet_has_the_ends_of_what_was_drawn(finished):
    sheet = look_at_faces(finished / "generated", CPU, count=20)
    assert sheet.faces.shape == (4, 8, 112, 112, 3)
    assert sheet.faces.dtype == np.uint8
    ordered = np.sort(sheet.drawn)
    np.testing.assert_allclose(sheet.similarity[0], ordered[:8], atol=1e-6)
    np.testing.assert_allclose(sheet.similarity[2], ordered[::-1][:8], atol=1e-6)
    assert all(not np.array_equal(one, other) for one, other in zip(sheet.faces[0], sheet.faces[1], strict=True))
    again = look_at_faces(finished / "generated", CPU, count=20)
    assert np.array_equal(sheet.faces, again.faces)


def test_the_command_writes_a_picture_and_says_what_it_shows(finished, tmp_path):
    ran = cakd("show", "synthetic", finished / "generated", "--output", tmp_path / "faces.svg", "--device", "cpu")
    assert ran.code == 0, ran.err
    assert "c of all of them: mean 0." in ran.out
    assert (tmp_path / "faces.svg").read_text().count("<image") == 32


@pytest.mark.parametrize(
    ("run", "message"),
    [
        ("people", r".*people: a run of the task identification; expected a run of a recipe with task: synthetic"),
        ("real", r".*real: a run of real faces alone \(real: 1\), which has no generator"),
        ("absent", r".*absent: holds no run\.json"),
    ],
)
def test_another_run_is_refused(run, message, finished):
    refused(["show", "synthetic", finished / run], message, finished)
    with pytest.raises(RunError):
        look_at_faces(finished / run, CPU)
