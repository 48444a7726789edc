"""TeacherSpec: strict, with the defaults of a host's network."""

import pytest
from pydantic import ValidationError

from insightface_cakd.recipe.teacher import CACHED, ONNX, network_of
from insightface_cakd.runtime.run_folder import RunFolder
from insightface_cakd.teachers import TeacherSpec


def test_a_network_is_all_that_must_be_given():
    spec = TeacherSpec(network="r50")
    assert (spec.weights, spec.sha256, spec.embedding_size, spec.check, spec.centres) == (None, None, None, None, [])
    assert spec.input_size == 112


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ({"network": "r50", "wights": "a.pt"}, ("wights",)),
        ({"weights": "a.pt"}, ("network",)),
        ({"network": "r50", "sha256": "abc"}, ("sha256",)),
        ({"network": "r50", "input_size": "112"}, ("input_size",)),
        ({"network": "r50", "embedding_size": 0}, ("embedding_size",)),
        ({"network": "r50", "check": {"bin": "lfw.bin", "floor": 99.5}}, ("check", "floor")),
        ({"network": "r50", "check": {"bin": "lfw.bin"}}, ("check", "floor")),
        ({"network": "r50", "channels": "BGR"}, ("channels",)),
        ({"network": "r50", "std": 0}, ("std",)),
        ({"network": "r50", "mean": [0.5, 0.5]}, ("mean",)),
    ],
)
def test_unknown_keys_and_wrong_values_are_refused(content, place):
    with pytest.raises(ValidationError) as caught:
        TeacherSpec.model_validate(content)
    assert caught.value.errors()[0]["loc"][: len(place)] == place


@pytest.mark.parametrize("content", [{"mean": 127.5}, {"std": 127.5}, {"mean": [123.7, 116.3, 103.5]}])
def test_a_mean_of_pixels_up_to_255_is_asked_back(content):
    with pytest.raises(
        ValidationError, match=r"expected the (mean|std) of pixels in \[0, 1\], such as 0.5\. Divide by 255"
    ):
        TeacherSpec.model_validate({"network": "r50", **content})


def a_run(folder, network, *names):
    """Write what is needed of a run's folder."""
    folder.mkdir()
    RunFolder(folder).write({"config": {"network": network}})
    for name in names:
        (folder / name).touch()
    return folder


def test_weights_tell_their_network_where_they_can(tmp_path):
    run = a_run(tmp_path / "run", "vit_s", "model.pt", "best.pt", "other.pt")
    best = a_run(tmp_path / "best", "mbf", "best.pt")
    (tmp_path / "alone").mkdir()
    (tmp_path / "alone" / "model.pt").touch()
    found = {
        str(run): "vit_s",
        str(run / "model.pt"): "vit_s",
        str(run / "best.pt"): "vit_s",
        str(run / "other.pt"): None,
        str(best): "mbf",
        str(tmp_path / "alone"): None,
        str(tmp_path): CACHED,
        str(run / "model.ONNX"): ONNX,
        "nowhere.pt": None,
    }
    assert {path: network_of(path) for path in found} == found
