"""From a trained student to the file that InsightFace loads."""
