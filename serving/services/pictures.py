"""Encoded pictures of a request, opened as the pipeline opens them."""

import asyncio
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from serving.errors import BadImage, BadInput
from serving.models.preprocess import open_picture
from serving.rpc.unary import Context
from serving.settings import Settings


def check_count(name: str, count: int, settings: Settings) -> None:
    """Raise ``BadInput`` unless one to ``max_batch``."""
    if not 1 <= count <= settings.max_batch:
        raise BadInput(f"{name}: there are {count}; 1 to {settings.max_batch} are taken")


def ends_s(context: Context, settings: Settings) -> float:
    """When a call must be answered, by the clock of the running event loop."""
    left_s = context.time_remaining()
    now_s = asyncio.get_running_loop().time()
    return now_s + (settings.request_timeout_s if left_s is None else left_s)


def open_one(images: Sequence[bytes], place: int, settings: Settings) -> NDArray[np.uint8]:
    """One of ``images``, uint8 (h, w, 3) RGB. Raises ``BadImage``, which names it where there are several.

    One at a time: a few kilobytes of PNG may unpack to 120 MB, and a request may hold many.
    """
    try:
        return open_picture(
            images[place], max_bytes=settings.max_picture_bytes, max_pixels=settings.max_picture_pixels
        )
    except BadImage as error:
        if len(images) == 1:
            raise
        raise BadImage(error.reason, f"images[{place}]: {error.message}") from None
