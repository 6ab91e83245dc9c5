"""Removes noise from photographs and gives grey ones colour."""

from restore.images import ImageError, save_picture
from restore.models.colorizer import Colorizer
from restore.models.denoiser import Denoiser
from restore.models.hub import WeightsError
from restore.pipeline import colorize, denoise, restore

__all__ = ["Colorizer", "Denoiser", "ImageError", "WeightsError", "colorize", "denoise", "restore", "save_picture"]
