"""Weights: the right file, whole, for the right network, or one line that says what is wrong."""

import hashlib

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from insightface_cakd.errors import TeacherError
from insightface_cakd.networks.weights import (
    check_sha256,
    existing_file,
    file_sha256,
    infer_embedding_size,
    load_strictly,
    read_state,
    weights_file,
)
from tests.teachers.faces import TinyFace, saved, trained

WHERE = "teacher weights x.pt"


def equal(one, other):
    return list(one) == list(other) and all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize(
    "prefix", ["", "module.", "model.", "_orig_mod.", "module._orig_mod.", "backbone.", "backbone.net."]
)
def test_a_state_dict_loads_with_or_without_a_shared_prefix(prefix):
    network = TinyFace()
    load_strictly(network, {prefix + key: value for key, value in trained().state_dict().items()}, WHERE)
    assert equal(network.state_dict(), trained().state_dict())


def test_a_prefix_that_the_network_has_itself_is_kept():
    network = nn.ModuleDict({"model": TinyFace()})
    load_strictly(network, {f"model.{key}": value for key, value in trained().state_dict().items()}, WHERE)
    assert equal(network["model"].state_dict(), trained().state_dict())


def test_the_backbone_is_taken_out_of_a_training_checkpoint(tmp_path):
    state = trained().state_dict()
    torch.save({"epoch": 3, "state_dict_backbone": state, "state_optimizer": {"lr": 0.1}}, tmp_path / "checkpoint.pt")
    assert equal(read_state(tmp_path / "checkpoint.pt", WHERE), state)


def test_missing_unexpected_and_misshapen_keys_are_counted_and_named_and_nothing_is_loaded():
    state = trained(width=5).state_dict()
    state["extra.weight"] = state.pop("conv.bias")
    network = TinyFace(8)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    expected = (
        r"teacher weights x.pt: 1 missing keys \(conv.bias\), 1 unexpected \(extra.weight\), 6 of another shape "
        r"\(fc.weight is \(5, 16\), the network's \(8, 16\); fc.bias is \(5,\), the network's \(8,\); \.\.\.\); "
        r"not loaded. Is teacher.network the right one\?"
    )
    with pytest.raises(TeacherError, match=expected):
        load_strictly(network, state, WHERE)
    assert equal(network.state_dict(), before)


def test_wrong_shapes_alone_point_at_the_sizes():
    with pytest.raises(TeacherError, match=r"0 missing keys, 0 unexpected, 6 of .*Are .*teacher.embedding_size"):
        load_strictly(TinyFace(8), trained(width=5).state_dict(), WHERE)


def test_a_head_beside_the_network_is_left_out():
    state = {f"model.{key}": value for key, value in trained(width=24).state_dict().items()}
    state |= {"head.kernel": torch.ones(24, 10), "head.t": torch.zeros(1)}
    network = TinyFace(infer_embedding_size(state, WHERE, TinyFace))
    load_strictly(network, state, WHERE)
    assert equal(network.state_dict(), trained(width=24).state_dict())


def test_modules_that_were_compiled_one_by_one_have_their_names_again():
    state = {key.replace("fc.", "fc._orig_mod."): value for key, value in trained().state_dict().items()}
    network = TinyFace()
    load_strictly(network, state, WHERE)
    assert equal(network.state_dict(), trained().state_dict())


def test_a_network_that_is_there_twice_is_asked_about():
    own = trained().state_dict()
    state = {f"{prefix}{key}": value for prefix in ("student.", "teacher.") for key, value in own.items()}
    with pytest.raises(TeacherError, match=r"x.pt: holds this network 2 times \(student, teacher\); expected it once"):
        load_strictly(TinyFace(), state, WHERE)


def test_the_missing_keys_below_a_prefix_are_named_without_it():
    state = {f"backbone.{key}": value for key, value in trained().state_dict().items()}
    del state["backbone.conv.bias"]
    with pytest.raises(TeacherError, match=r"1 missing keys \(conv\.bias\), 0 unexpected"):
        load_strictly(TinyFace(), state, WHERE)


@pytest.mark.parametrize("key", ["state_dict", "model", "ema", "state_dict_ema", "model_state_dict", "net"])
def test_the_one_state_dict_of_a_checkpoint_is_taken_whatever_its_key(tmp_path, key):
    own = trained().state_dict()
    optimizer = {"state": {0: {"exp_avg": torch.zeros(2)}}, "param_groups": [{"lr": 0.1}]}
    torch.save({"epoch": 3, key: own, "optimizer": optimizer, "scaler": {"scale": 65536.0}}, tmp_path / "x.pt")
    assert equal(read_state(tmp_path / "x.pt", WHERE), own)


def test_of_several_state_dicts_the_network_shows_which_is_meant(tmp_path):
    own = trained().state_dict()
    torch.save({"model": own, "head": {"kernel": torch.ones(8, 10)}}, tmp_path / "head.pt")
    network = TinyFace()
    load_strictly(network, read_state(tmp_path / "head.pt", WHERE), WHERE)
    assert equal(network.state_dict(), own)
    torch.save({"model": own, "ema": own}, tmp_path / "ema.pt")
    with pytest.raises(TeacherError, match=r"holds this network 2 times \(model, ema\)"):
        load_strictly(TinyFace(), read_state(tmp_path / "ema.pt", WHERE), WHERE)


def test_a_safetensors_is_read_as_the_same_state(tmp_path):
    own = {f"module.{key}": value for key, value in trained().state_dict().items()}
    save_file(own, tmp_path / "x.safetensors")
    network = TinyFace()
    load_strictly(network, read_state(tmp_path / "x.safetensors", WHERE), WHERE)
    assert equal(network.state_dict(), trained().state_dict())


@pytest.mark.parametrize("names", [("model.pt",), ("best.pt",), ("model.pt", "best.pt")])
def test_a_runs_folder_stands_for_the_weights_in_it(tmp_path, names):
    for name in names:
        saved(tmp_path, name=name)
    assert weights_file(str(tmp_path), "x") == tmp_path / names[0]


def test_without_a_network_to_build_the_embedding_size_is_that_of_the_last_weight():
    assert infer_embedding_size(trained(width=24).state_dict(), WHERE, None) == 24
    with pytest.raises(TeacherError, match=r"x.pt: has no weight to read the embedding size from"):
        infer_embedding_size({"bias": torch.zeros(3)}, WHERE, None)


def test_the_order_of_the_keys_and_a_prefix_do_not_matter():
    state = trained(width=24).state_dict()

    def of_width(width):
        return TinyFace(width)

    for prefix in ("", "module.", "model."):
        for keys in (sorted(state), sorted(state, reverse=True)):
            shuffled = {f"{prefix}{key}": state[key] for key in keys}
            assert infer_embedding_size(shuffled, WHERE, of_width) == 24


def test_a_network_that_cannot_be_built_is_no_fault_here():
    def of_width(width):
        raise RuntimeError("such network is not known")

    assert infer_embedding_size(trained(width=24).state_dict(), WHERE, of_width) == 24


def test_counters_of_batch_norms_may_be_missing_as_in_torch():
    network, given = (
        nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)),
        nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)),
    )
    state = {key: value for key, value in given.state_dict().items() if key != "1.num_batches_tracked"}
    load_strictly(network, {f"module.{key}": value for key, value in state.items()}, WHERE)
    assert all(torch.equal(value, network.state_dict()[key]) for key, value in state.items())
    del state["1.running_mean"]
    with pytest.raises(TeacherError, match=r"1 missing keys \(1\.running_mean\)"):
        load_strictly(network, state, WHERE)


@pytest.mark.parametrize("keep", [0, 30, 0.5, 0.99])
def test_a_truncated_file_is_one_line(tmp_path, keep):
    path = saved(tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content)) if keep < 1 else keep])
    with pytest.raises(TeacherError, match=r"x.pt: cannot be read \(.*It is truncated, damaged") as caught:
        read_state(path, WHERE)
    assert "\n" not in str(caught.value)


def test_a_pickle_that_would_run_code_is_not_run(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (tmp_path.joinpath("ran").touch, ())

    torch.save({"weight": Bomb()}, tmp_path / "bomb.pt")
    with pytest.raises(TeacherError, match=r"x.pt: cannot be read .*Python objects other than tensors"):
        read_state(tmp_path / "bomb.pt", WHERE)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ([torch.zeros(2)], r"holds a list; expected a state dict"),
        ({"epoch": 3, "lr": 0.1}, r"holds epoch, a int; expected named tensors"),
        ({}, r"holds no keys; expected named tensors"),
    ],
)
def test_a_file_that_holds_something_else_is_refused(tmp_path, content, line):
    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(TeacherError, match=line):
        read_state(tmp_path / "other.pt", WHERE)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore:'torch.load' received")
def test_a_torchscript_file_is_recognised(tmp_path):
    torch.jit.trace(trained().eval(), torch.zeros(1, 3, 112, 112)).save(str(tmp_path / "model.pt"))
    with pytest.raises(TeacherError, match=r"is a TorchScript file; .*Set teacher.network: torchscript"):
        read_state(tmp_path / "model.pt", WHERE)


def test_sha256_is_that_of_the_bytes(tmp_path):
    path = tmp_path / "bytes"
    path.write_bytes(b"teacher" * 500_000)
    digest = hashlib.sha256(b"teacher" * 500_000).hexdigest()
    assert file_sha256(path) == digest
    check_sha256(digest, digest.upper(), WHERE)
    check_sha256(digest, None, WHERE)


def test_a_sha256_mismatch_shows_both_values():
    with pytest.raises(TeacherError, match=f"{WHERE}: sha256 is {'a' * 64}, expected {'b' * 64}. It is another file"):
        check_sha256("a" * 64, "b" * 64, WHERE)


def test_missing_weights_are_an_error_never_random_weights(tmp_path):
    with pytest.raises(TeacherError, match=r"teacher r50: teacher.weights is not set; .*never keeps random weights"):
        weights_file(None, "r50")
    with pytest.raises(TeacherError, match=r"teacher weights .*none.pt: does not exist; expected a file"):
        weights_file(str(tmp_path / "none.pt"), "r50")
    with pytest.raises(TeacherError, match=r"what .*: is a folder without model.pt; expected a file. fix"):
        existing_file(str(tmp_path), "what", "fix")
