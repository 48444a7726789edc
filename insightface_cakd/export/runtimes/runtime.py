"""What a runtime must offer: its converter, and itself to check the result with."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

# float32 (1, 3, 112, 112) to (1, D).
EmbedOne = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Runtime:
    """A runtime with a converter.

    Args:
        name: as the command names it, and the extra of the installation.
        packages: what must be importable.
        endings: of the files, after the stem.
        input: name of the input in the files.
        output: name of the output.
        convert: (ONNX file, folder, stem): write the files; raises RuntimeError with the converter's last line.
        load: (folder, stem, threads): return what embeds a face in float32 arithmetic.
    """

    name: str
    packages: tuple[str, ...]
    endings: tuple[str, ...]
    input: str
    output: str
    convert: Callable[[Path, Path, str], None]
    load: Callable[[Path, str, int], EmbedOne]
