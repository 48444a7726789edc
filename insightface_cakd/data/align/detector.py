"""Finds faces with a detector that insightface loads."""

import contextlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from insightface.model_zoo import get_model

from insightface_cakd.errors import DataError, in_one_line

# Boxes with a lower score are noise: a photo without any higher one counts as `no face`, not as `low score`.
FAINTEST = 0.2
AUTOMATIC = 0  # insightface's own sizes: 128 for large faces, 640 for small ones.
STRIDE = 32  # Pixels per cell of the coarsest map; insightface's anchors fit only multiples of it.


@dataclass(frozen=True)
class Face:
    """A detected face.

    Args:
        box: left, top, right, bottom in pixels.
        score: in [0, 1].
        points: float32 (5, 2), in pixels: eyes, nose, corners of the mouth.
    """

    box: tuple[float, float, float, float]
    score: float
    points: np.ndarray

    @property
    def side(self) -> float:
        """The shorter side of the box, in pixels."""
        return min(self.box[2] - self.box[0], self.box[3] - self.box[1])

    @property
    def area(self) -> float:
        """The area of the box, in square pixels."""
        return (self.box[2] - self.box[0]) * (self.box[3] - self.box[1])


class Detector:
    """A face detector with five landmarks, run on the CPU.

    It uses one thread, so that the result depends on the photo alone. Photos are scaled to a square of `size` pixels, a
    multiple of 32; 0 takes insightface's own two sizes.
    """

    def __init__(self, path: Path, size: int = AUTOMATIC) -> None:
        if size < 0 or size % STRIDE:
            nearest = max(STRIDE, (size + STRIDE // 2) // STRIDE * STRIDE)
            raise DataError(
                f"--det-size {size}: is no multiple of {STRIDE}, the detector's coarsest stride; expected one, or 0 for "
                f"128 and 640. Take {nearest}."
            )
        self.model = load_detector(path)
        self.model.prepare(0, input_size=(size, size), det_thresh=FAINTEST)

    def find(self, bgr: np.ndarray) -> list[Face]:
        """Return the faces of a BGR photo (H, W, 3), best first."""
        boxes, points = self.model.detect(bgr)
        rows = zip(boxes.tolist(), points, strict=True)
        return [Face(tuple(box[:4]), float(box[4]), five.astype(np.float32)) for box, five in rows]


def load_detector(path: Path) -> Any:
    """Return insightface's model of a detector with landmarks."""
    if not path.is_file():
        raise DataError(f"detector {path}: does not exist; expected an .onnx file. Correct the path.")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            model = get_model(str(path), providers=["CPUExecutionProvider"], sess_options=options)
    # insightface, onnx and onnxruntime share no base class but Exception.
    except Exception as error:
        reason = in_one_line(error)[:200]
        raise DataError(
            f"detector {path}: insightface cannot load it ({reason}); expected a detector as ONNX. It is truncated, "
            "damaged or something else: get it again."
        ) from error
    task = getattr(model, "taskname", None)
    if task != "detection" or not getattr(model, "use_kps", False):
        found = f"a {task} model" if task != "detection" else "a detector without points"
        raise DataError(
            f"detector {path}: insightface takes it for {found if model is not None else 'nothing that it knows'}; "
            "expected a detector that finds five points, such as scrfd_500m.onnx."
        )
    return model
