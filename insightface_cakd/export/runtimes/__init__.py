"""Students as files of runtimes other than onnxruntime; each file is compared with the ONNX one that it was made from."""
