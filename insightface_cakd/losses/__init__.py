"""The distillation losses: one file each, found by its name.

Each is a module for anyone's loop, `from insightface_cakd.losses import CosineLoss`. Nothing here imports torch before a loss is asked for.
"""

from typing import TYPE_CHECKING, Any

from insightface_cakd.losses.catalogue import LOSSES, facts_of
from insightface_cakd.losses.facts import LOGITS, LossFacts

if TYPE_CHECKING:
    # For type checkers and editors alone: a loss is found without its line.
    from insightface_cakd.losses.aird import PairContrastLoss
    from insightface_cakd.losses.angular import AngularLoss
    from insightface_cakd.losses.attention import AttentionSimilarityLoss, AttentionTransferLoss
    from insightface_cakd.losses.base import DistillLoss
    from insightface_cakd.losses.cckd import CorrelationCongruenceLoss
    from insightface_cakd.losses.cosine import CosineLoss
    from insightface_cakd.losses.coupleface import RelationAwareLoss
    from insightface_cakd.losses.darkrank import DarkRankLoss
    from insightface_cakd.losses.ekd import EvaluationRankLoss
    from insightface_cakd.losses.fcd import FeatureConsistencyLoss
    from insightface_cakd.losses.fitnet import FitNetLoss
    from insightface_cakd.losses.fskd import FeatureRelationLoss, FeatureSimilarityLoss
    from insightface_cakd.losses.gkd import GroupedLoss
    from insightface_cakd.losses.kd import SoftTargetLoss
    from insightface_cakd.losses.logit_regression import LogitRegressionLoss
    from insightface_cakd.losses.mse import EmbeddingSquaredLoss
    from insightface_cakd.losses.prompts import PromptAnchorLoss, PromptMarginLoss
    from insightface_cakd.losses.qud import QueueContrastLoss
    from insightface_cakd.losses.rkd import RelationAngleLoss, RelationDistanceLoss
    from insightface_cakd.losses.sp import SimilarityPreservingLoss
    from insightface_cakd.losses.triplet import TripletDistillationLoss
    from insightface_cakd.losses.urfm import URFMAnchorLoss, URFMAttentionLoss, URFMFeatureLoss

__all__ = [
    "LOGITS",
    "LOSSES",
    "AngularLoss",
    "AttentionSimilarityLoss",
    "AttentionTransferLoss",
    "CorrelationCongruenceLoss",
    "CosineLoss",
    "DarkRankLoss",
    "DistillLoss",
    "EmbeddingSquaredLoss",
    "EvaluationRankLoss",
    "FeatureConsistencyLoss",
    "FeatureRelationLoss",
    "FeatureSimilarityLoss",
    "FitNetLoss",
    "GroupedLoss",
    "LogitRegressionLoss",
    "LossFacts",
    "PairContrastLoss",
    "PromptAnchorLoss",
    "PromptMarginLoss",
    "QueueContrastLoss",
    "RelationAngleLoss",
    "RelationAwareLoss",
    "RelationDistanceLoss",
    "SimilarityPreservingLoss",
    "SoftTargetLoss",
    "TripletDistillationLoss",
    "URFMAnchorLoss",
    "URFMAttentionLoss",
    "URFMFeatureLoss",
    "facts_of",
]


def __getattr__(name: str) -> Any:
    if name == "DistillLoss":
        from insightface_cakd.losses.base import DistillLoss

        return DistillLoss
    for loss in LOSSES:
        if facts_of(loss).__name__ == name:
            return LOSSES[loss]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
