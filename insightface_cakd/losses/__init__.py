"""The distillation losses by the name that recipes use; a new one is its own file and one line here."""

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

LOSSES: dict[str, type[DistillLoss]] = {
    "cosine": CosineLoss,
    "fcd": FeatureConsistencyLoss,
    "relation_aware": RelationAwareLoss,
    "mse": EmbeddingSquaredLoss,
    "angular": AngularLoss,
    "qud": QueueContrastLoss,
    "fitnet": FitNetLoss,
    "at": AttentionTransferLoss,
    "askd": AttentionSimilarityLoss,
    "fskd": FeatureSimilarityLoss,
    "fskd_relation": FeatureRelationLoss,
    "sp": SimilarityPreservingLoss,
    "cckd": CorrelationCongruenceLoss,
    "rkd_distance": RelationDistanceLoss,
    "rkd_angle": RelationAngleLoss,
    "darkrank": DarkRankLoss,
    "ekd": EvaluationRankLoss,
    "triplet_distillation": TripletDistillationLoss,
    "kd": SoftTargetLoss,
    "gkd": GroupedLoss,
    "logit_regression": LogitRegressionLoss,
    "urfm_attention": URFMAttentionLoss,
    "urfm_feature": URFMFeatureLoss,
    "urfm_anchor": URFMAnchorLoss,
    "prompt_anchor": PromptAnchorLoss,
    "prompt_margin": PromptMarginLoss,
}

__all__ = ["LOSSES", "DistillLoss"]
