"""Inference-Time Attention Engineering for frozen vision transformers."""

__version__ = "0.1.0"
