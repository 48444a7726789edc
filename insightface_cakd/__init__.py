"""Knowledge distillation for InsightFace's arcface_torch: one flag, `--distill RECIPE`."""

__version__ = "0.1.0"
