"""`mxnet.gluon.data`: the base class of data sets."""

from typing import Any

from ..refusal import refuse

__getattr__ = refuse("mxnet.gluon.data")


class Dataset:
    """Base class of the host's data set, which torch's DataLoader reads."""

    def __getitem__(self, idx: int) -> Any:
        raise NotImplementedError

    def __len__(self) -> int:
        raise NotImplementedError
