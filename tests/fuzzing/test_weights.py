"""Whatever a file of weights or a checkpoint holds: it is loaded, or refused in one line, and nothing is left half written."""

import json
import shutil
import struct

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.networks.models import load_backbone
from tests.commands import cakd, contents, train
from tests.fuzzing.limits import ends_well, inputs, limited, refusal, untouched

STATE = get_model("cnn_tiny", num_features=64).state_dict()
KEYS = list(STATE)
ODD_TENSORS = {
    "meta": lambda tensor: tensor.to("meta"),
    "sparse": lambda tensor: tensor.to_sparse(),
    "quantised": lambda tensor: torch.quantize_per_tensor(tensor.float(), 0.1, 0, torch.qint8),
    "complex": lambda tensor: tensor + 1j,
    "nested": lambda tensor: torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)]),
    "larger than memory": lambda tensor: torch.zeros(1).expand(1 << 20, 1 << 20),
    "scalar": lambda tensor: torch.zeros(()),
    "empty": lambda tensor: torch.zeros(0),
    "integers": lambda tensor: tensor.long(),
    "not finite": lambda tensor: tensor * float("nan"),
}
PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.binary(max_size=8)
NESTED = st.recursive(
    PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
)
NAMES = (
    st.text(max_size=8)
    | st.integers()
    | st.none()
    | st.tuples(st.text(max_size=3))
    | st.just("x" * 10_000)
    | st.just("a\nb")
)


@st.composite
def odd_states(draw):
    """A state dict with an odd tensor, value or name in it, or something else in its place."""
    if draw(st.integers(0, 5)) == 0:
        return draw(NESTED | st.dictionaries(NAMES, st.just(torch.zeros(2, 2)), max_size=3))
    state = dict(STATE)
    key = draw(st.sampled_from(KEYS))
    change = draw(st.sampled_from([*ODD_TENSORS, "value", "name", "gone"]))
    if change == "value":
        state[key] = draw(NESTED)
    elif change == "name":
        state[draw(NAMES)] = state.pop(key)
    elif change == "gone":
        del state[key]
    else:
        state[key] = ODD_TENSORS[change](state[key])
    return draw(st.sampled_from([state, {"state_dict_backbone": state}]))


def refused_or_loaded(path):
    said = refusal(lambda: load_backbone(path, "cnn_tiny", get_model))
    assert "\n" not in said
    assert not said or "; expected" in said or "; not loaded" in said, said


def test_a_state_dict_with_something_odd_in_it(tmp_path):
    @inputs(80)
    @given(odd_states())
    def batch(state):
        torch.save(state, tmp_path / "weights.pt")
        refused_or_loaded(tmp_path / "weights.pt")

    limited(batch)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_file_of_damaged_bytes(suffix, tmp_path):
    path = tmp_path / f"weights{suffix}"
    torch.save(STATE, tmp_path / "whole.pt")
    header = json.dumps({"a.weight": {"dtype": "F32", "shape": [1 << 40, 1 << 40], "data_offsets": [0, 4]}}).encode()
    whole = (
        (tmp_path / "whole.pt").read_bytes() if suffix == ".pt" else struct.pack("<Q", len(header)) + header + b"1234"
    )

    @inputs(40)
    @given(
        st.lists(st.tuples(st.integers(0, len(whole) - 1), st.binary(max_size=20)), max_size=4),
        st.integers(0, len(whole)),
    )
    def batch(changes, length):
        content = bytearray(whole)
        for place, put in changes:
            content[place : place + len(put)] = put
        path.write_bytes(content[:length] if length % 2 else content)
        refused_or_loaded(path)

    limited(batch)


@st.composite
def forgeries(draw):
    """Where in a checkpoint something is replaced, and by what."""
    part = draw(
        st.sampled_from(
            [
                ("epoch",), ("global_step",), ("world_size",), ("images",), ("best",), ("improved",), ("state_dict_backbone",),
                ("state_dict_softmax_fc", "weight"), ("state_dict_softmax_fc", 5), ("state_optimizer", "param_groups"),
                ("state_optimizer", "state"), ("state_optimizer", "state", 0), ("state_lr_scheduler", "power"), ("state_rng", "torch"),
                ("state_rng", "numpy"), ("state_rng", "python"), ("state_grad_scaler",),
            ]
        )
    )  # fmt: skip
    odd = st.sampled_from(
        [torch.zeros(3), torch.zeros(1, 1).to_sparse(), torch.zeros(2, device="meta"), 10**30, -1, {1: 2}, [], [{}]]
    )
    return part, draw(NESTED | odd)


def test_a_forged_checkpoint_is_resumed_or_refused(tmp_path, face_set, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cakd(*train(face_set)).code == 0
    name = "checkpoint_gpu_0.pt"
    saved = torch.load(tmp_path / "out" / name, weights_only=True)

    @inputs(40)
    @given(forgeries())
    def batch(forgery):
        (*above, last), value = forgery
        content = {key: dict(part) if isinstance(part, dict) else part for key, part in saved.items()}
        part = content
        for key in above:
            part[key] = dict(part[key])
            part = part[key]
        part[last] = value
        shutil.rmtree("out")
        (tmp_path / "out").mkdir()
        torch.save(content, tmp_path / "out" / name)
        before = contents(tmp_path / "out")
        ran = cakd(*train(face_set, "--resume", num_epoch=1))
        ends_well(ran)
        if ran.code:
            untouched(tmp_path / "out", before)

    limited(batch)
