"""Interface of a runtime: converter, and loader to check the result."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

# Maps one face, float32 (1, 3, 112, 112), to its embedding (1, D).
EmbedOne = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Runtime:
    """A runtime with a converter.

    Args:
        name: name on the command line, and of the extra to install.
        convert: (ONNX file, folder, stem): writes the files; raises RuntimeError with the converter's last line.
        load: (folder, stem, threads): returns a function that embeds one face in float32 arithmetic; both raise
            RuntimeError when the runtime fails.
    """

    name: str
    packages: tuple[str, ...]
    endings: tuple[str, ...]
    input: str
    output: str
    convert: Callable[[Path, Path, str], None]
    load: Callable[[Path, str, int], EmbedOne]
