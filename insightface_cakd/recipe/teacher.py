"""The part of a recipe about its teacher."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from insightface_cakd.recipe.prompts import PromptSpec
from insightface_cakd.runtime.run_folder import RunFolder

CACHED, ONNX = "cached", "onnx"
# Wider layers, as square matrices, fill the memory of any GPU.
WIDEST = 65536
# The teacher of a recipe that has none: a task alone.
NOBODY = "none"
# Of pixels in [0, 1].
Mean = Annotated[float, Field(ge=0, le=1, strict=False)]
Deviation = Annotated[float, Field(gt=0, le=1, strict=False)]


def network_of(weights: str) -> str | None:
    """Return the network that weights tell of themselves.

    `cached` for a cache, `onnx` for an ONNX file, the network of the run for a run's folder and the weights in it; None for other weights.
    """
    path = Path(weights).expanduser()
    if path.suffix.lower() == ".onnx" and not path.is_dir():
        return ONNX
    run = RunFolder(path if path.is_dir() else path.parent)
    if path.is_dir():
        return run.network if run.weights is not None else CACHED
    return run.network if path in (run.model, run.best) else None


class CheckSpec(BaseModel):
    """The measurement that a teacher must pass before step 1.

    Args:
        floor: lowest accepted 10-fold accuracy, in (0, 1].
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    bin: str
    floor: float = Field(gt=0, le=1)


class TeacherSpec(BaseModel):
    """The teacher of a recipe, and what is required of it.

    Args:
        network: a network of the host by name, `timm:NAME`, `package.module:callable`, `torchscript`, `onnx` or
            `cached`; `none` for a run without a teacher.
        weights: the file with the weights or the folder of the run that wrote it, the ONNX or TorchScript file, or the
            folder of the cache.
        sha256: of that file (64 hexadecimal digits), not of an ONNX file's external data; for a cache, of the teacher
            that wrote it. Not compared when not given.
        embedding_size: width of the embedding, at most 65536; read from the weights when not given.
        input_size: side of the square images that the teacher takes, at most 4096, where one image takes 200 MB; the student's are
            resized when theirs differs.
        channels: order of the colours that it takes.
        mean: it takes (x - mean) / std of pixels x in [0, 1]; one value, or one for each channel in its order; 0.5 when not
            given.
        std: see `mean`.
        check: the measurement that it must pass before step 1.
        centres: files with the teacher's class centres in rank order, or a folder of prototypes; only logits terms and
            `head.centres: teacher` need them.
        prototypes: folder that `cakd data prototypes` wrote; only terms that look at other identities need it.
        prompts: tokens that learn inside the frozen teacher, a Transformer, while it teaches; none when not given.
        trains: its weights learn with the student, from the terms that do not treat it as a constant; then `weights` may be left out.
        source: where the weights come from; saved with the run.
        licence: of the weights; saved with the run and written into exported files.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    network: str = Field(min_length=1)
    weights: str | None = None
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-fA-F]{64}$")
    embedding_size: int | None = Field(default=None, gt=0, le=WIDEST)
    input_size: int = Field(default=112, gt=0, le=4096)
    channels: Literal["rgb", "bgr"] = "rgb"
    mean: Mean | Annotated[list[Mean], Field(min_length=3, max_length=3)] | None = None
    std: Deviation | Annotated[list[Deviation], Field(min_length=3, max_length=3)] | None = None
    check: CheckSpec | None = None
    centres: list[str] = Field(default_factory=list)
    prototypes: str | None = None
    prompts: PromptSpec | None = None
    trains: bool = False
    source: str | None = None
    licence: str | None = None

    @field_validator("mean", "std", mode="before")
    @classmethod
    def _of_pixels_up_to_one(cls, value: Any, info: ValidationInfo) -> Any:
        values = value if isinstance(value, list) else [value]
        if any(isinstance(one, int | float) and one > 1 for one in values):
            raise ValueError(f"expected the {info.field_name} of pixels in [0, 1], such as 0.5. Divide by 255")
        return value
