"""Outcomes of photos as the arrays of a job's block."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from insightface_cakd.data.align.photo import Outcome

Block = Mapping[str, np.ndarray]


def as_block(outcomes: Sequence[Outcome]) -> Block:
    """Return outcomes as arrays without objects, as `outcomes_of` reads them.

    Args:
        outcomes: of some photos, in order; at least one.
    """
    return {
        "jpegs": np.frombuffer(b"".join(one.jpeg for one in outcomes), np.uint8),
        "lengths": np.array([len(one.jpeg) for one in outcomes]),
        "faces": np.array([one.faces for one in outcomes]),
        "reasons": np.array([one.reason or "" for one in outcomes]),
        "details": np.array([one.detail for one in outcomes]),
    }


def outcomes_of(block: Block) -> Iterator[Outcome]:
    """Yield the outcomes of a block.

    Args:
        block: of `as_block`.
    """
    ends = np.cumsum(block["lengths"])
    for end, length, faces, reason, detail in zip(
        ends, block["lengths"], block["faces"], block["reasons"], block["details"], strict=True
    ):
        yield Outcome(str(reason) or None, str(detail), block["jpegs"][end - length : end].tobytes(), int(faces))
