"""Network files, what they compute and what they cost.

Formats: weights, ONNX, timm, TorchScript.
"""
