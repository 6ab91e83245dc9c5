"""A picture between its file and the networks: float RGB, and all that is needed to give a result back as it came."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from restore.images.errors import ImageError
from restore.images.pixels import LEVELS, LUMA, grey_levels, strips
from restore.images.profiles import ColorSpace


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture as the networks want it, and what is needed to give the result back as it came."""

    rgb: Tensor  # (1, 3, H, W) float32 sRGB in [0, 1], upright, without alpha
    mode: str  # of the result without alpha: "RGB", or grey as "L", "I;16", "I" or "F"
    levels: tuple[float, float]  # the values of the result that mean black and white
    alpha: Image.Image | None  # mode L, upright
    space: ColorSpace | None  # None where the colours are sRGB, or taken for it
    info: dict[str, Any]  # "icc_profile", "exif" and "dpi", as far as the picture has them
    notes: tuple[str, ...]  # what the visitor should know, such as "showing the first of 12 frames"

    @property
    def is_grey(self) -> bool:
        """Whether the mode is grey (1, L, LA, I;16, I or F): what comes in grey goes out grey."""
        return self.mode != "RGB"

    def to_pil(self, rgb: Tensor, *, color: bool = False) -> Image.Image:
        """Give a result back as the picture came: size, mode, alpha, colour profile, EXIF.

        1-bit pictures come back as L; palettes, CMYK and Lab as RGB.

        Args:
            rgb: (1, 3, H, W) in sRGB. Values outside [0, 1] are clamped, here and only here.
            color: Give RGB also when the picture is grey, as colorizing wants.

        Raises:
            ImageError: The shape is not the picture's, or a value is NaN or infinite.
        """
        if rgb.shape != self.rgb.shape:
            raise ImageError(f"the result has shape {tuple(rgb.shape)}, the picture {tuple(self.rgb.shape)}")
        colorized = color and self.is_grey
        mode = "RGB" if colorized else self.mode
        space = None if colorized else self.space
        height, width = rgb.shape[2:]
        image = Image.new(mode, (width, height))
        for box in strips(width, height):
            _, top, _, bottom = box
            strip = rgb[0, :, top:bottom].detach().cpu().float()  # (3, h, W)
            if not bool(strip.isfinite().all()):
                raise ImageError("the result holds NaN or infinite values")
            if space:
                image.paste(space.restore(_rgb_image(strip), box), box)
            elif mode == "RGB":
                image.paste(_rgb_image(strip), box)
            else:
                image.paste(_grey_image(strip, mode, self.levels), box)
        if self.alpha:
            image.putalpha(self.alpha)
        image.info = {key: value for key, value in self.info.items() if not (colorized and key == "icc_profile")}
        if mode in ("I", "F"):
            image.info[LEVELS] = self.levels
        return image


def _rgb_image(rgb: Tensor) -> Image.Image:
    """Round (3, h, w) to mode RGB; values outside [0, 1] are clamped."""
    return Image.fromarray((rgb.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).contiguous().numpy())


def _grey_image(rgb: Tensor, mode: str, levels: tuple[float, float]) -> Image.Image:
    """Weigh (3, h, w) to luma, of mode L, I;16, I or F between the levels; values outside [0, 1] are clamped."""
    luma = np.tensordot(LUMA, rgb.clamp(0, 1).double().numpy(), axes=1)  # (h, w)
    return grey_levels(luma, mode, levels)
