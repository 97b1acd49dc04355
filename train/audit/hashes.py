"""The first net: perceptual hashes, and hashes of the decoded pixels for exact copies."""

import hashlib

import imagehash
import numpy as np
from PIL import Image, ImageOps


def phash_bits(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """pHash 8x8 of a picture and of its mirror image: two (64,) bool arrays.

    pixels: (H, W) grey or (H, W, 3) BGR, uint8. The hash is ImageHash's: 32x32 by Lanczos, discrete cosine transform,
    the 8x8 lowest frequencies, each compared with their median (N. Krawetz, "Looks Like It", The Hacker Factor Blog,
    2011).
    """
    image = Image.fromarray(pixels if pixels.ndim == 2 else np.ascontiguousarray(pixels[:, :, ::-1])).convert("L")
    # phash would make this same 32x32 thumbnail; made here once, it serves the mirror image too.
    small = image.resize((32, 32), Image.Resampling.LANCZOS)
    return tuple(imagehash.phash(one, hash_size=8).hash.ravel() for one in (small, ImageOps.mirror(small)))


def hexadecimal(bits: np.ndarray) -> str:
    """A hash of (64,) bool as 16 hexadecimal digits, first bit highest, as ImageHash writes it."""
    return np.packbits(bits).tobytes().hex()


def pixel_hash(pixels: np.ndarray) -> str:
    """SHA-256 over size and decoded pixels; a colour picture with three equal channels hashes as its grey twin."""
    if pixels.ndim == 3 and not is_colour(pixels):
        pixels = pixels[:, :, 0]
    digest = hashlib.sha256(repr(pixels.shape).encode())
    digest.update(np.ascontiguousarray(pixels).tobytes())
    return digest.hexdigest()


def is_colour(pixels: np.ndarray) -> bool:
    """Whether any pixel of a uint8 picture has channels that differ."""
    return pixels.ndim == 3 and bool((pixels != pixels[:, :, :1]).any())


def hamming(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Number of differing bits between each of (N, 64) and each of (M, 64) bool: (N, M) int."""
    one, two = first.astype(np.float32), second.astype(np.float32)
    return np.rint(one.sum(1)[:, None] + two.sum(1)[None] - 2 * one @ two.T).astype(int)
