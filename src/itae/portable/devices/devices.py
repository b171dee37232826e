"""The devices of this package, by which configs name them: `itae.device`."""

from __future__ import annotations

from itae.portable.devices.command import Command
from itae.portable.devices.execu_torch import ExecuTorch
from itae.portable.devices.lite_rt import LiteRt
from itae.portable.devices.mnn_here import Mnn
from itae.portable.devices.ncnn_here import Ncnn
from itae.portable.devices.onnx_runtime import OnnxRuntime
from itae.portable.devices.open_vino import OpenVino
from itae.portable.devices.torch_here import Torch

__all__ = ["Command", "ExecuTorch", "LiteRt", "Mnn", "Ncnn", "OnnxRuntime", "OpenVino", "Torch"]
