"""A note where bfloat16 is slower than float32."""

import pytest
import torch

from insightface_cakd.hosts.precision import examine_precision

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)


@pytest.mark.parametrize(
    ("precision", "device", "supported", "notes"),
    [
        ("bf16", CPU, False, 1),
        ("bf16", CPU, True, 0),
        ("bf16", CUDA, False, 0),
        ("fp32", CPU, False, 0),
        (None, CPU, False, 0),
    ],
)
def test_a_note_is_for_a_processor_without_bfloat16(precision, device, supported, notes, monkeypatch):
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: supported)
    found = list(examine_precision(precision, device))
    assert len(found) == notes
    assert all(finding.kind == "note" and "Set precision=fp32." in finding.text for finding in found)
