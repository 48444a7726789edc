"""What a file of a network is: weights, ONNX, timm, TorchScript; what it gives and what it costs."""
