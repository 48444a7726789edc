"""Checks the values of a job's config before a run."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, Strict, ValidationError

from insightface_cakd.errors import RunError, shown
from insightface_cakd.runtime.strict_yaml import is_plain

# Steps and images are counted in 64 bits.
_MOST = 10**12
BF16 = "bf16"


def _whole(least: int, below: str = "", most: int = _MOST, above: str = "") -> Any:
    reason = f"; otherwise {below}" if below else ""
    limit = f"; at most {most}" + (f", since {above}" if above else "")
    return Field(None, ge=least, le=most, description=f"a whole number of at least {least}{reason}{limit}")


def _number() -> Any:
    return Field(
        None, ge=0, le=3e38, allow_inf_nan=False, description="a number of at least 0, at most 3e38, as float32 holds"
    )


class JobSpec(BaseModel):
    """The keys that both hosts read; None is a key not set.

    Other keys may have any value. A field's description is what the error message says was expected.
    """

    model_config = ConfigDict(strict=True, extra="ignore")
    NEEDED: ClassVar[tuple[str, ...]] = ()

    batch_size: int | None = _whole(
        2,
        "batch norm cannot train on one image, and the head cannot gather one label",
        2**20,
        "their pixels alone fill 150 GB",
    )
    embedding_size: int | None = _whole(1, "the network cannot be built", 65536, "no GPU holds its last layer")
    frequent: int | None = _whole(1, "the log divides by it")
    gradient_acc: int | None = _whole(1, "the loop divides by it")
    interclass_filtering_threshold: float | None = _number()
    lr: float | None = _number()
    margin_list: Annotated[tuple[float, float, float], Strict(False)] | None = Field(
        None, description="three numbers, for example (1.0, 0.5, 0.0)"
    )
    num_classes: int | None = _whole(1, "there is nothing to tell apart", 10**9, "512 numbers for each fill 2 TB")
    num_epoch: int | None = _whole(1, "nothing is trained")
    num_workers: int | None = _whole(0, "the loader cannot start", 1024, "each is a process")
    optimizer: Literal["sgd", "adamw"] | None = Field(None, description="sgd or adamw")
    val_targets: Annotated[list[str], Strict(False)] | None = Field(
        None, description="a list of names, for example ['lfw']"
    )
    warmup_epoch: float | None = _number()
    weight_decay: float | None = _number()


class EmbeddedJobSpec(JobSpec):
    """A job of the embedded host; `rec` and `num_classes` have no default."""

    NEEDED: ClassVar[tuple[str, ...]] = (
        "rec", "network", *JobSpec.model_fields, "momentum", "precision", "sample_rate", "seed", "verbose", "verify_epochs",
    )  # fmt: skip

    momentum: float | None = _number()
    precision: Literal["fp32", "bf16"] | None = Field(
        None, description="fp32, or bf16 for the forward passes of student and teachers in training"
    )
    sample_rate: float | None = _number()
    seed: int | None = _whole(0, most=2**32 - 1, above="NumPy's generators take none")
    verbose: int | None = _whole(0)
    verify_epochs: int | None = _whole(1)


class CheckoutJobSpec(JobSpec):
    """A job of arcface_torch, whose base config lacks six keys."""

    NEEDED: ClassVar[tuple[str, ...]] = (
        "rec", "num_classes", "num_image", "num_epoch", "warmup_epoch", "val_targets", "margin_list", "optimizer", "sample_rate",
    )  # fmt: skip

    num_image: float | None = _number()
    sample_rate: float | None = Field(
        None,
        gt=0,
        le=1,
        description="a share above 0, up to 1; with 0 the batch's own classes are the only ones, and a rank that has none of them stops "
        "(partial_fc_v2.py:93-99)",
    )
    verbose: int | None = _whole(1, "the loop divides by it")
    # arcface_torch's configs/3millions.py says -1.
    warmup_epoch: float | None = Field(None, allow_inf_nan=False, description="a number")


def job_problems(cfg: Mapping[str, Any], spec: type[JobSpec]) -> Iterator[str]:
    """Yield what is wrong with a config, one line per key."""
    for key in spec.NEEDED:
        if cfg.get(key) is None:
            yield f"config: {key} is not set; a run needs it. Pass --set {key}=..., or set it in the config file."
    for key, value in cfg.items():
        if isinstance(value, str) and not is_plain(value):
            yield f"config: {key} is {value[:80]!a}; expected text in UTF-8, without NUL. Correct it."
    try:
        spec.model_validate(dict(cfg))
    except ValidationError as error:
        for key in dict.fromkeys(str(problem["loc"][0]) for problem in error.errors()):
            yield f"config: {key} is {shown(cfg[key])}; expected {spec.model_fields[key].description}. Correct it."


def check_job(cfg: Mapping[str, Any], spec: type[JobSpec]) -> None:
    """Raise the first line of `job_problems` as a RunError."""
    for problem in job_problems(cfg, spec):
        raise RunError(problem)
