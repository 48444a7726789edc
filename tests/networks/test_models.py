"""A model file becomes an embedder: the right one, whole, or one line that says why not."""

import pytest
import torch

from insightface_cakd.errors import EvaluationError
from insightface_cakd.hosts.embedded.backbones import get_model as host_model
from insightface_cakd.networks.models import load_backbone, load_embedder
from tests.networks.onnx_models import channel_means
from tests.teachers.faces import WIDTH, as_input, faces, get_model, saved, trained

CPU = torch.device("cpu")


def images(count: int = 3) -> torch.Tensor:
    return as_input(faces(count))


class TestWeights:
    @pytest.mark.parametrize(
        "pack",
        [
            lambda state: state,
            lambda state: {f"module.{key}": value for key, value in state.items()},
            lambda state: {"epoch": 3, "state_dict_backbone": state, "state_optimizer": {"state": {}}},
        ],
        ids=["bare", "from DataParallel", "checkpoint"],
    )
    def test_are_loaded_whole_from(self, tmp_path, pack):
        torch.save(pack(trained().state_dict()), tmp_path / "model.pt")
        embed = load_embedder(tmp_path / "model.pt", "tiny", get_model, CPU)
        assert torch.equal(embed(images()), trained().eval()(images()))

    def test_say_how_wide_the_embedding_is(self, tmp_path):
        backbone = load_backbone(saved(tmp_path, width=24), "tiny", get_model)
        assert backbone(images()).shape == (3, 24)
        assert not backbone.training

    @pytest.mark.parametrize("name", ["mbf", "cnn_tiny", "vit_tiny"])
    def test_of_a_host_network_say_their_width(self, tmp_path, name):
        torch.save(host_model(name, num_features=48).state_dict(), tmp_path / "model.pt")
        assert load_backbone(tmp_path / "model.pt", name, host_model).eval()(images(2)).shape == (2, 48)

    def test_need_the_name_of_their_network(self, tmp_path):
        with pytest.raises(EvaluationError, match=r"which network .* is not known; .* Pass --network, for example"):
            load_embedder(saved(tmp_path), None, get_model, CPU)

    def test_of_another_network(self, tmp_path):
        with pytest.raises(
            EvaluationError, match=r"model.pt as wide: .* of another shape .* Is --network wide the right"
        ):
            load_embedder(saved(tmp_path), "wide", get_model, CPU)

    def test_of_an_unknown_network(self, tmp_path):
        with pytest.raises(EvaluationError, match="network 'tini' is unknown; known: tiny, wide"):
            load_embedder(saved(tmp_path), "tini", get_model, CPU)

    def test_with_a_missing_key(self, tmp_path):
        state = trained().state_dict()
        del state["fc.bias"]
        torch.save(state, tmp_path / "model.pt")
        with pytest.raises(EvaluationError, match=r"1 missing keys \(fc.bias\), 0 unexpected.*Is --network tiny"):
            load_embedder(tmp_path / "model.pt", "tiny", get_model, CPU)

    def test_that_are_truncated(self, tmp_path):
        path = saved(tmp_path)
        path.write_bytes(path.read_bytes()[:500])
        with pytest.raises(EvaluationError, match="cannot be read .* truncated"):
            load_embedder(path, "tiny", get_model, CPU)


class TestOnnx:
    def test_embeds_whatever_the_batch_it_was_made_for(self, tmp_path):
        expected = images(5).mean(dim=(2, 3))
        for batch in ("batch", 1, 2):
            embed = load_embedder(channel_means(tmp_path / f"{batch}.onnx", batch=batch), None, get_model, CPU)
            assert torch.allclose(embed(images(5)), expected, atol=1e-6)

    def test_that_normalises_its_images_itself_gets_pixels(self, tmp_path):
        embed = load_embedder(channel_means(tmp_path / "m.onnx", first="normalise"), None, get_model, CPU)
        assert torch.allclose(embed(images()), faces(3).float().mean(dim=(1, 2)), atol=1e-3)

    def test_that_is_no_onnx(self, tmp_path):
        (tmp_path / "model.onnx").write_bytes(b"no model")
        with pytest.raises(EvaluationError, match=r"model.onnx: cannot be read .* expected an ONNX model"):
            load_embedder(tmp_path / "model.onnx", None, get_model, CPU)

    def test_for_another_image_size(self, tmp_path):
        path = channel_means(tmp_path / "m.onnx", side=128)
        with pytest.raises(EvaluationError, match=r"takes images of 128x128.* Verification sets hold faces of 112x112"):
            load_embedder(path, None, get_model, CPU)

    def test_with_more_than_one_output(self, tmp_path):
        with pytest.raises(EvaluationError, match="has 9 outputs .* Is it a recognition model"):
            load_embedder(channel_means(tmp_path / "m.onnx", outputs=9), None, get_model, CPU)


@pytest.mark.parametrize("name", ["model.pt", "model.onnx"])
def test_a_file_that_does_not_exist_or_is_a_folder(tmp_path, name):
    with pytest.raises(EvaluationError, match=rf"{name}: does not exist; expected"):
        load_embedder(tmp_path / name, "tiny", get_model, CPU)
    (tmp_path / name).mkdir()
    with pytest.raises(EvaluationError, match=rf"{name}: is a folder; expected"):
        load_embedder(tmp_path / name, "tiny", get_model, CPU)


def test_every_error_is_one_line_about_this_model(tmp_path):
    path = saved(tmp_path, width=WIDTH)
    for network in ("wide", "tini"):
        with pytest.raises(EvaluationError) as caught:
            load_embedder(path, network, get_model, CPU)
        assert "\n" not in str(caught.value)
        assert "teacher" not in str(caught.value)
