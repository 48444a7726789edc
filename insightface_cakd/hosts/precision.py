"""Where a config's precision does not fit the processor."""

from collections.abc import Iterator

import torch

from insightface_cakd.hosts.job_spec import BF16
from insightface_cakd.runtime.findings import Finding, note


def examine_precision(precision: str | None, device: torch.device) -> Iterator[Finding]:
    """Say where bfloat16 makes a run slower instead of faster.

    Without AVX-512 oneDNN has no bfloat16, and torch falls back to loops in C++.

    Args:
        precision: of the config.
        device: of the run.
    """
    if precision == BF16 and device.type == "cpu" and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        yield note(
            "config: precision is bf16, which this processor computes many times more slowly than float32. Set precision=fp32."
        )
