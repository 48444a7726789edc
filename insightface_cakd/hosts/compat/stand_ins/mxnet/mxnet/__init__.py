"""The part of mxnet that arcface_torch uses.

Everything else raises an error that names the call. Imports are relative: the package is found as `mxnet`.
"""

from . import gluon, image, ndarray, recordio
from .refusal import refuse

nd = ndarray

__all__ = ["gluon", "image", "nd", "ndarray", "recordio"]
__getattr__ = refuse("mxnet")
