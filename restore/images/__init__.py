"""The only door for pictures: a file, bytes or a PIL image in; float RGB, and all that is needed to give the result back, out.

    picture = open_picture("photo.jpg")             # or ImageError, and nothing else, ever
    image = picture.to_pil(model(picture.rgb))      # same size, mode, alpha, colour profile and EXIF
    save_picture(image, "clean.jpg")                # whole or not at all, and without the place where it was taken

The format is told by content, never by name, and the size is read from the header before a pixel is decoded. Only the readers
in `reading.FORMATS` are ever reached, so that no file can start Ghostscript, and Pillow's global settings stay as they are.
Colour of 16 bits a channel is read as 8, which is what Pillow holds; grey of 16 and 32 bits and of float keeps its depth.
"""

from restore.images.errors import ImageError, image_errors
from restore.images.picture import Picture
from restore.images.profiles import in_srgb
from restore.images.reading import MAX_BYTES, MAX_PIXELS, open_picture, suffix_of
from restore.images.writing import JPEG, WRITERS, check_fits, encode_picture, lost_in, save_picture

__all__ = [
    "JPEG",
    "MAX_BYTES",
    "MAX_PIXELS",
    "WRITERS",
    "ImageError",
    "Picture",
    "check_fits",
    "encode_picture",
    "image_errors",
    "in_srgb",
    "lost_in",
    "open_picture",
    "save_picture",
    "suffix_of",
]
