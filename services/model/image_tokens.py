"""What an image costs: by the tile rule of https://platform.openai.com/docs/guides/images-vision.

In low detail 85 tokens. Else it is made to fit 2048 by 2048 pixels, then to have a shorter side of
at most 768, and costs 85 and 170 for each tile of 512 by 512 that it touches. Newer models count
patches instead, and each its own price; theirs is for their provider to say.
"""

import base64
import re
import struct
from typing import Any

LOW_TOKENS = 85
TILE_TOKENS = 170
UNSEEN_TOKENS = LOW_TOKENS + 4 * TILE_TOKENS
"""An image that is only named, or cannot be read: as one of 1024 by 1024 pixels."""

_SIDE_MAX, _SHORTER_MAX, _TILE = 2048, 768, 512
_HEAD_CHARACTERS = 128 * 1024
"""Of base64; a JPEG may hold a preview before it tells its size."""
_DATA_URL = re.compile(r"data:image/[\w.+-]+;base64,")
_JPEG_SIZES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Markers of frames, which hold the size: ITU-T T.81, table B.1."""


def image_tokens(part: dict[str, Any]) -> int:
    """Tokens of a part or an item that is an image."""
    if part.get("detail") == "low":
        return LOW_TOKENS
    size = _size_of(part.get("image_url") or part.get("result"))
    return UNSEEN_TOKENS if size is None else tile_tokens(*size)


def tile_tokens(width: int, height: int) -> int:
    """Tokens of an image of so many pixels in high detail."""
    scale = min(1.0, _SIDE_MAX / max(width, height))
    scale = min(scale, _SHORTER_MAX / min(width, height))
    tiles = _tiles(width * scale) * _tiles(height * scale)
    return LOW_TOKENS + TILE_TOKENS * tiles


def _tiles(side: float) -> int:
    return max(1, -int(-side // _TILE))


def _size_of(given: Any) -> tuple[int, int] | None:
    """Width and height of an image in base64, with or without the start of a data URL."""
    if not isinstance(given, str):
        return None
    opening = _DATA_URL.match(given)
    if opening is None and ":" in given[:16]:
        return None
    start = opening.end() if opening else 0
    text = given[start : start + _HEAD_CHARACTERS]
    try:
        head = base64.b64decode(text[: len(text) // 4 * 4], validate=True)
        size = _read(head)
    except (ValueError, struct.error, IndexError):
        return None
    return size if size and min(size) > 0 else None


def _read(head: bytes) -> tuple[int, int] | None:
    """What the head of a file says of its size: PNG, GIF, WebP or JPEG."""
    if head[:8] == b"\x89PNG\r\n\x1a\n":
        return struct.unpack_from(">II", head, 16)
    if head[:6] in {b"GIF87a", b"GIF89a"}:
        return struct.unpack_from("<HH", head, 6)
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return _webp(head)
    if head[:2] == b"\xff\xd8":
        return _jpeg(head)
    return None


def _webp(head: bytes) -> tuple[int, int] | None:
    match head[12:16]:
        case b"VP8X":
            width = int.from_bytes(head[24:27], "little") + 1
            return width, int.from_bytes(head[27:30], "little") + 1
        case b"VP8L":
            (bits,) = struct.unpack_from("<I", head, 21)
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case b"VP8 ":
            width, height = struct.unpack_from("<HH", head, 26)
            return width & 0x3FFF, height & 0x3FFF
        case _:
            return None


def _jpeg(head: bytes) -> tuple[int, int] | None:
    place = 2
    while head[place] == 0xFF:  # noqa: PLR2004 - every marker begins so
        if head[place + 1] in _JPEG_SIZES:
            height, width = struct.unpack_from(">HH", head, place + 5)
            return width, height
        (length,) = struct.unpack_from(">H", head, place + 2)
        place += 2 + length
    return None
