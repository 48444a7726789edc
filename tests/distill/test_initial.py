"""A student starts from weights of another width: all but the last layer, bit for bit, or not at all."""

import pytest
import timm
import torch
from safetensors.torch import save_file

from insightface_cakd.distill.initial import load_initial
from insightface_cakd.errors import RunError
from insightface_cakd.hosts.embedded.backbones import get_model

LAST = {
    "cnn_tiny": {"fc", "features"},
    "vit_tiny": {"feature.0", "feature.1"},
    "mbf": {"features.layers.2", "features.layers.3"},
    "r18": {"fc", "features"},
}


def of_width(name):
    return lambda width: get_model(name, num_features=width)


@pytest.mark.parametrize("name", LAST)
@pytest.mark.parametrize("prefix", ["", "module."])
def test_all_but_the_last_layer_is_bitwise_equal(name, prefix, tmp_path):
    given = get_model(name, num_features=32).state_dict()
    torch.save({f"{prefix}{key}": value for key, value in given.items()}, tmp_path / "w.pt")
    student = get_model(name, num_features=10)
    before = {key: value.clone() for key, value in student.state_dict().items()}
    state = torch.get_rng_state()
    load_initial(student, str(tmp_path / "w.pt"), of_width(name))
    assert torch.equal(torch.get_rng_state(), state), "the run draws what it would have drawn"
    replaced = set()
    for key, value in student.state_dict().items():
        layer = key.rpartition(".")[0]
        if layer in LAST[name]:
            assert torch.equal(value, before[key]), key
            replaced.add(layer)
        else:
            assert torch.equal(value, given[key]), key
    assert replaced == LAST[name]


def test_a_file_of_the_same_width_is_loaded_whole(tmp_path):
    given = get_model("cnn_tiny", num_features=10)
    torch.save(given.state_dict(), tmp_path / "w.pt")
    student = get_model("cnn_tiny", num_features=10)
    load_initial(student, str(tmp_path / "w.pt"), of_width("cnn_tiny"))
    assert all(torch.equal(value, student.state_dict()[key]) for key, value in given.state_dict().items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("layer2.0.weight"), r"1 missing keys \(layer2\.0\.weight\), 0 unexpected"),
        (lambda state: state.pop("fc.weight"), r"1 missing keys \(fc\.weight\)"),
        (lambda state: state.update(extra=torch.zeros(1)), r"0 missing keys, 1 unexpected \(extra\)"),
        (lambda state: state.update({"layer1.0.weight": torch.zeros(1)}), r"1 of another shape \(layer1\.0\.weight"),
    ],
)
def test_anything_else_that_does_not_fit_is_refused(change, message, tmp_path):
    state = get_model("cnn_tiny", num_features=32).state_dict()
    change(state)
    torch.save(state, tmp_path / "w.pt")
    student = get_model("cnn_tiny", num_features=10)
    before = {key: value.clone() for key, value in student.state_dict().items()}
    with pytest.raises(RunError, match=message):
        load_initial(student, str(tmp_path / "w.pt"), of_width("cnn_tiny"))
    assert all(torch.equal(value, student.state_dict()[key]) for key, value in before.items())


def test_without_a_task_of_its_own_answer_the_width_must_fit(tmp_path):
    torch.save(get_model("cnn_tiny", num_features=32).state_dict(), tmp_path / "w.pt")
    with pytest.raises(RunError, match="of another shape"):
        load_initial(get_model("cnn_tiny", num_features=10), str(tmp_path / "w.pt"))


def timm_student(name):
    return get_model(f"timm:{name}", num_features=16)


@pytest.mark.parametrize("ending", ["pt", "safetensors"])
def test_timms_own_weights_fill_the_body_at_this_image_size(ending, tmp_path):
    """Position embeddings of 14 x 14 patches become those of 7 x 7, the classifier goes, the embedding head stays."""
    given = timm.create_model("vit_tiny_patch16_224", pretrained=False).state_dict()
    path = tmp_path / f"w.{ending}"
    save_file(given, path) if ending == "safetensors" else torch.save(given, path)
    student = timm_student("vit_tiny_patch16_224")
    head = {key: value.clone() for key, value in student.feature.state_dict().items()}
    load_initial(student, str(path))
    for key, value in student.body.state_dict().items():
        if key == "pos_embed":
            assert (tuple(given[key].shape), tuple(value.shape)) == ((1, 197, 192), (1, 50, 192))
            assert torch.equal(value[:, 0], given[key][:, 0]), "the class token has no place"
            assert value[:, 1:].mean() == pytest.approx(float(given[key][:, 1:].mean()), abs=1e-3)
        else:
            assert torch.equal(value, given[key]), key
    assert all(torch.equal(value, head[key]) for key, value in student.feature.state_dict().items())


def test_a_face_network_of_timm_is_loaded_whole(tmp_path):
    given = timm_student("vit_tiny_patch16_224")
    torch.save(given.state_dict(), tmp_path / "w.pt")
    student = timm_student("vit_tiny_patch16_224")
    load_initial(student, str(tmp_path / "w.pt"))
    assert all(torch.equal(value, student.state_dict()[key]) for key, value in given.state_dict().items())


@pytest.mark.parametrize(
    ("of", "message"),
    [("vit_small_patch16_224", "of another shape"), ("resnet10t", "missing keys|cannot adapt it")],
)
def test_timm_weights_of_another_network_are_refused(of, message, tmp_path):
    torch.save(timm.create_model(of, pretrained=False).state_dict(), tmp_path / "w.pt")
    student = timm_student("vit_tiny_patch16_224")
    before = {key: value.clone() for key, value in student.state_dict().items()}
    with pytest.raises(RunError, match=message):
        load_initial(student, str(tmp_path / "w.pt"))
    assert all(torch.equal(value, before[key]) for key, value in student.state_dict().items())
