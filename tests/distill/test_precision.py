"""Training in bfloat16: the student's network alone computes in it."""

import pytest
import torch
from torch import nn
from torch.nn.functional import cosine_similarity

from insightface_cakd.distill.precision import CallersAutocast
from insightface_cakd.distill.student import DistilledStudent
from insightface_cakd.errors import RunError
from insightface_cakd.hosts.embedded import train_v2
from tests.hosts.embedded.jobs import small_job

CPU = torch.device("cpu")


def enabled():
    return torch.is_autocast_enabled("cpu")


def test_a_callers_autocast_is_left_and_entered_where_it_is_wanted():
    precision = CallersAutocast()
    with torch.autocast("cpu", torch.float16), precision.left(CPU):
        assert not enabled()
        with precision.entered():
            assert (enabled(), torch.get_autocast_dtype("cpu")) == (True, torch.float16)
        assert not enabled()
    with precision.left(CPU), precision.entered():
        assert not enabled()


def test_it_is_forgotten_after_an_error():
    precision = CallersAutocast()
    with pytest.raises(ValueError, match="broken"), torch.autocast("cpu"), precision.left(CPU):
        raise ValueError("broken")
    with precision.entered():
        assert not enabled()


def test_views_teachers_and_sources_compute_outside_it():
    seen = {}

    class Network(nn.Linear):
        def forward(self, images):
            seen["network"] = enabled()
            return super().forward(images.flatten(1)[:, :4])

    def sides(images, step):
        seen["views"] = enabled()
        return images, images

    student = DistilledStudent(Network(4, 4), {}, [], taught=False, sides=sides).train()
    with torch.autocast("cpu", torch.bfloat16):
        student(torch.zeros(2, 3, 112, 112))
    assert seen == {"views": False, "network": True}


def losses(face_set, output, precision, monkeypatch):
    """Return the loss of each step, and the types of the first map."""
    found, types, backward = [], set(), train_v2.backward

    def watched(parts, *given):
        hook = parts.backbone.layer1[0].register_forward_hook(lambda _, __, maps: types.add(maps.dtype))
        found.append(backward(parts, *given).detach())
        hook.remove()
        return found[-1]

    monkeypatch.setattr(train_v2, "backward", watched)
    train_v2.main(small_job(face_set, output, precision=precision))
    monkeypatch.undo()
    return torch.stack(found), types


def test_a_run_in_bfloat16_learns_as_one_in_float32(face_set, tmp_path, monkeypatch):
    full, full_types = losses(face_set, tmp_path / "full", "fp32", monkeypatch)
    half, half_types = losses(face_set, tmp_path / "half", "bf16", monkeypatch)
    assert (full_types, half_types) == ({torch.float32}, {torch.bfloat16})
    assert not torch.equal(full, half)
    torch.testing.assert_close(half[0], full[0], rtol=0.02, atol=0)
    weights = [torch.load(tmp_path / name / "model.pt", weights_only=True) for name in ("full", "half")]
    assert {value.dtype for value in weights[1].values()} == {torch.float32, torch.int64}
    assert cosine_similarity(*(state["fc.weight"].flatten() for state in weights), dim=0) > 0.9


def test_other_words_are_refused(face_set, tmp_path):
    with pytest.raises(RunError, match="precision is 'half'; expected fp32, or bf16 for the forward passes"):
        train_v2.main(small_job(face_set, tmp_path / "out", precision="half"))
