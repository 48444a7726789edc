"""TeacherSpec: strict, with the defaults of a host's network."""

import pytest
from pydantic import ValidationError

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
    ],
)
def test_unknown_keys_and_wrong_values_are_refused(content, place):
    with pytest.raises(ValidationError) as caught:
        TeacherSpec.model_validate(content)
    assert caught.value.errors()[0]["loc"] == place
