"""The part of a recipe about the prompts of its teacher."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Placement = Literal["deep", "stage", "shallow"]


class PromptSpec(BaseModel):
    """Learnt tokens that take part in the attention of a frozen Transformer.

    How many tokens CAKD uses, where a ViT's stages begin and whether the last norm comes before the tokens are shown is not
    known; the defaults are our reading.

    Args:
        tokens: prompts per set, 1 to 4096; attention grows with their square.
        placement: where a new set replaces the one before: `stage`, before each stage (a ViT's blocks are divided into 4),
            as in CAKD; `deep`, before every block; `shallow`, before the first block only. A Swin drops its prompts at every
            patch merging, so that `shallow` leaves none in its last stage.
        checkpoint: recompute the teacher's blocks in the backward pass instead of keeping their activations.
        rate: factor of the prompts' gradient, 0 to 1: with SGD, of their learning rate; and of what they add to the norm by which the
            host clips the student's gradient. Prompts that learn as fast as the student leave it no target to learn
            (see the results in docs/lab_book/drawn_faces.md).
        output: what the teacher's tokens are: those after the network's last `norm`, or what its last `block` gives.
        plain: folder with the teacher's embeddings without prompts, for the anchors, as `cakd data cache-teacher` writes them (to
            float16); images are found by their pixels, and may be mirrored but not changed otherwise. When not given, each step
            runs the teacher a second time, without prompts.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    tokens: int = Field(default=8, ge=1, le=4096)
    placement: Placement = "stage"
    checkpoint: bool = False
    rate: float = Field(default=0.01, gt=0, le=1)
    output: Literal["norm", "block"] = "norm"
    plain: str | None = None
