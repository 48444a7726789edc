"""`mxnet.gluon.data`: what a data set must have."""

from typing import Any

from ..refusal import refuse

__getattr__ = refuse("mxnet.gluon.data")


class Dataset:
    """A data set that the host's own class fills in; torch's DataLoader reads it."""

    def __getitem__(self, idx: int) -> Any:
        raise NotImplementedError

    def __len__(self) -> int:
        raise NotImplementedError
