"""A job small enough for a test: two epochs of a few steps."""

from pathlib import Path

from easydict import EasyDict

from insightface_cakd.hosts.embedded.utils.utils_config import get_config


def small_job(data: Path, output: Path, **changes: object) -> EasyDict:
    """Return the config of a tiny run on a folder of records."""
    cfg = get_config("faces_cnn_tiny")
    cfg.update(
        rec=str(data),
        output=str(output),
        batch_size=12,
        num_epoch=2,
        embedding_size=32,
        num_workers=0,
        frequent=2,
        warmup_epoch=0,
        device="cpu",
    )
    cfg.update(changes)
    return cfg
