"""The distillation losses by the name that recipes use; a new one is its own file and one line here."""

from insightface_cakd.losses.base import DistillLoss
from insightface_cakd.losses.cosine import CosineLoss
from insightface_cakd.losses.fcd import FeatureConsistencyLoss
from insightface_cakd.losses.fitnet import FitNetLoss
from insightface_cakd.losses.kd import SoftTargetLoss
from insightface_cakd.losses.prompts import PromptAnchorLoss, PromptMarginLoss
from insightface_cakd.losses.rkd import RelationAngleLoss, RelationDistanceLoss
from insightface_cakd.losses.urfm import URFMAnchorLoss, URFMAttentionLoss, URFMFeatureLoss

LOSSES: dict[str, type[DistillLoss]] = {
    "cosine": CosineLoss,
    "fcd": FeatureConsistencyLoss,
    "fitnet": FitNetLoss,
    "rkd_distance": RelationDistanceLoss,
    "rkd_angle": RelationAngleLoss,
    "kd": SoftTargetLoss,
    "urfm_attention": URFMAttentionLoss,
    "urfm_feature": URFMFeatureLoss,
    "urfm_anchor": URFMAnchorLoss,
    "prompt_anchor": PromptAnchorLoss,
    "prompt_margin": PromptMarginLoss,
}

__all__ = ["LOSSES", "DistillLoss"]
