"""Students in torch, the reference."""

from keydistill.encoders.runtime.torch.runtime import TorchRuntime

__all__ = ["TorchRuntime"]
