"""The embedding size is read right from every network of arcface_torch, and its files load as teachers."""

import pytest
import torch

from insightface_cakd.hosts.checkout import find_checkout
from insightface_cakd.hosts.embedded.backbones import NETWORKS, get_model
from insightface_cakd.networks.weights import SchedulesOnCpu, infer_embedding_size
from insightface_cakd.teachers import TeacherSpec, build_teacher
from tests.teachers.faces import as_input, faces

NAMES = ["r18", "mbf", "mbf_large", "vit_t"]


@pytest.fixture
def upstream_get_model(arcface_torch):
    checkout = find_checkout(arcface_torch)
    with checkout.imported():
        yield checkout.load("backbones").get_model


def width(get_model, name):
    def of_width(width):
        return get_model(name, num_features=width, fp16=False, dropout=0.0)

    # Keys and shapes are all that counts.
    with torch.device("meta"), SchedulesOnCpu():
        state = of_width(96).state_dict()
    (found,) = {
        infer_embedding_size({key: state[key] for key in keys}, name, of_width) for keys in (state, sorted(state))
    }
    return found


@pytest.mark.upstream
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("name", NAMES)
def test_the_width_of_a_network_of_arcface_torch_is_read_from_its_weights(upstream_get_model, name):
    assert width(upstream_get_model, name) == 96


@pytest.mark.parametrize("name", [*NETWORKS, "timm:vit_tiny_patch16_224"])
def test_the_width_of_a_network_of_the_embedded_host_is_read_from_its_weights(name):
    assert width(get_model, name) == 96


@pytest.mark.upstream
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_checkpoint_of_arcface_torch_teaches_through_either_host(upstream_get_model, tmp_path):
    network = upstream_get_model("mbf", num_features=64, fp16=False).eval()
    state = {f"module.{key}": value for key, value in network.state_dict().items()}
    torch.save({"epoch": 1, "state_dict_backbone": state}, tmp_path / "checkpoint_gpu_0.pt")
    spec = TeacherSpec(network="mbf", weights=str(tmp_path / "checkpoint_gpu_0.pt"))
    images = as_input(faces(2))
    with torch.no_grad():
        expected = network(images)
    for host in (upstream_get_model, get_model):
        torch.testing.assert_close(build_teacher(spec, host, "cpu")(images), expected, rtol=1e-4, atol=1e-5)
