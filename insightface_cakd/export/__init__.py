"""Export of a trained student to files that InsightFace loads."""
