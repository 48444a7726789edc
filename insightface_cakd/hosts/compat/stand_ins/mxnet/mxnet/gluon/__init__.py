"""`mxnet.gluon`: the base class of data sets only."""

from ..refusal import refuse
from . import data

__all__ = ["data"]
__getattr__ = refuse("mxnet.gluon")
