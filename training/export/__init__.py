"""Export of the network of a finished run: a folder for the Hugging Face hub, and an ONNX file."""
