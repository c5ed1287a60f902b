"""A cell as an ONNX graph."""
