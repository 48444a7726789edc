"""Views: how one side sees an image, in training and in evaluation."""

from insightface_cakd.views.crop import Crop, EyeStrip
from insightface_cakd.views.low_resolution import LowResolution
from insightface_cakd.views.mask import Mask
from insightface_cakd.views.mirror import Mirror
from insightface_cakd.views.sides import VIEWS, Sides, build_view
from insightface_cakd.views.view import View

__all__ = ["VIEWS", "Crop", "EyeStrip", "LowResolution", "Mask", "Mirror", "Sides", "View", "build_view"]
