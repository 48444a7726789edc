"""Export of a student to runtimes other than onnxruntime."""
