"""Export of a student to runtimes other than onnxruntime.

Each result is compared with the ONNX file that it was made from.
"""
