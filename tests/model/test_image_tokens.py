import base64
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.model.image_tokens import LOW_TOKENS, UNSEEN_TOKENS, image_tokens, tile_tokens
from tests.builders import PROPERTY


def png(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", width, height) + bytes(40)


def gif(width: int, height: int) -> bytes:
    return b"GIF89a" + struct.pack("<HH", width, height) + bytes(40)


def jpeg(width: int, height: int) -> bytes:
    preview = b"\xff\xe1" + struct.pack(">H", 30_002) + bytes(30_000)
    frame = b"\xff\xc2" + struct.pack(">HBHH", 17, 8, height, width) + bytes(40)
    return b"\xff\xd8" + preview + frame


def webp(kind: bytes, rest: bytes) -> bytes:
    return b"RIFF" + bytes(4) + b"WEBP" + kind + bytes(4) + rest + bytes(40)


def webp_lossy(width: int, height: int) -> bytes:
    return webp(b"VP8 ", bytes(6) + struct.pack("<HH", width, height))


def webp_lossless(width: int, height: int) -> bytes:
    return webp(b"VP8L", b"\x2f" + struct.pack("<I", (width - 1) | (height - 1) << 14))


def webp_extended(width: int, height: int) -> bytes:
    sides = ((side - 1).to_bytes(3, "little") for side in (width, height))
    return webp(b"VP8X", bytes(4) + b"".join(sides))


def url(data: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"


@pytest.mark.parametrize(
    ("width", "height", "tokens"),
    [
        (1024, 1024, 765),
        (2048, 4096, 1105),
        (512, 512, 255),
        (513, 512, 425),
        (1, 1, 255),
        (4096, 100, 85 + 170 * 4),
        (100_000, 1, 85 + 170 * 4),
    ],
)
def test_tiles_cost_what_the_provider_says(width, height, tokens):
    assert tile_tokens(width, height) == tokens


@pytest.mark.parametrize("written", [png, gif, jpeg, webp_lossy, webp_lossless, webp_extended])
@pytest.mark.parametrize("size", [(2048, 4096), (512, 512)])
def test_the_size_of_an_image_is_read_from_its_head(written, size):
    data = written(*size)
    assert image_tokens({"type": "input_image", "image_url": url(data)}) == tile_tokens(*size)
    made = {"type": "image_generation_call", "result": base64.b64encode(data).decode()}
    assert image_tokens(made) == tile_tokens(*size)


@pytest.mark.parametrize(
    "given_url",
    [
        "https://example.com/large.png",
        "data:image/png;base64,AAAA",
        "data:image/png;base64,%%%%",
        url(png(0, 10)),
        url(png(512, 512)[:20]),
        url(jpeg(512, 512)[:100]),
        url(b"\xff\xd8\xff"),
        "",
        "ÄÄÄÄ",
        None,
        7,
    ],
)
def test_an_image_that_cannot_be_read_costs_as_much_as_a_usual_one(given_url):
    assert image_tokens({"type": "input_image", "image_url": given_url}) == UNSEEN_TOKENS


def test_in_low_detail_every_image_costs_the_same():
    part = {"type": "input_image", "image_url": url(png(2048, 4096)), "detail": "low"}
    assert image_tokens(part) == LOW_TOKENS


@PROPERTY
@given(st.binary(max_size=200), st.sampled_from([b"", b"\xff\xd8", b"RIFF1234WEBP", b"GIF89a"]))
def test_any_bytes_have_a_size(data, opening):
    assert image_tokens({"image_url": url(opening + data)}) >= LOW_TOKENS
