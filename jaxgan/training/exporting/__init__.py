"""Generators that leave the house: weights as safetensors, programs as StableHLO and ONNX, and a card that describes
them."""
