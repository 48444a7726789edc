"""The words of the command line, apart from what they stand for, so that help comes at once."""

from typing import Literal

Target = Literal["IJBB", "IJBC"]
PresetName = Literal["eval_ijbc", "onnx_ijbc", "ijb_evals"]
Protocol = Literal["auto", "11", "1N", "both"]
