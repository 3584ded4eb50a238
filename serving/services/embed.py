"""The embed service: parts of pictures, and texts where the model reads them, to vectors."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from serving.errors import BadInput, TextSearchOff
from serving.images.box import Box, crop
from serving.models.embedder import Embedder
from serving.models.holder import ModelHolder
from serving.proto import embed_pb2, embed_pb2_grpc
from serving.rpc.unary import Context
from serving.services.passes import Passes
from serving.services.pictures import check_count, ends_s, open_one
from serving.settings import Settings


class EmbedServicer(embed_pb2_grpc.EmbedServicer):
    """``executor`` opens pictures, so that a bad one is of its own call alone; ``passes`` run the network.

    Texts, which are few and short, are read by ``executor``.
    """

    def __init__(
        self,
        holder: ModelHolder[Embedder],
        settings: Settings,
        executor: Executor,
        passes: Passes[NDArray[np.float32]],
    ) -> None:
        self._holder = holder
        self._settings = settings
        self._executor = executor
        self._passes = passes

    async def Embed(self, request: embed_pb2.EmbedRequest, context: Context) -> embed_pb2.EmbedReply:
        ends = ends_s(context, self._settings)
        check_count("images", len(request.images), self._settings)
        check_count("crops", len(request.crops), self._settings)
        crops = []
        for place, asked in enumerate(request.crops):
            if asked.image >= len(request.images):
                raise BadInput(
                    f"crops[{place}]: there is no image {asked.image}; there are {len(request.images)}"
                )
            crops.append((asked.image, Box(asked.box.x0, asked.box.y0, asked.box.x1, asked.box.y1)))
        with self._passes.room(len(crops), ends):
            embedder = await self._holder.get(request.model_version)
            loop = asyncio.get_running_loop()
            pixels: list[Tensor] = []
            order: list[int] = []  # of their rows in the reply
            for place in range(len(request.images)):
                rows = [row for row, (image, _) in enumerate(crops) if image == place]
                if rows:
                    parts = [crops[row][1] for row in rows]
                    opened = await loop.run_in_executor(
                        self._executor, crop_pixels, embedder, request.images, place, parts, self._settings
                    )
                    pixels += torch.split(opened, 1)
                    order += rows
            vectors = np.empty((len(crops), embedder.dim), np.float32)
            vectors[order] = await self._passes.ask(embedder, pixels, ends)
        return _reply(embedder, vectors)

    async def EmbedText(self, request: embed_pb2.EmbedTextRequest, context: Context) -> embed_pb2.EmbedReply:
        texts = list(request.texts)
        if texts:  # none: asked whether any would be read
            check_count("texts", len(texts), self._settings)
        for place, text in enumerate(texts):
            if not text.strip() or len(text) > self._settings.max_text_chars:
                raise BadInput(
                    f"texts[{place}]: it has {len(text)} characters; "
                    f"1 to {self._settings.max_text_chars} are taken, not all of them spaces"
                )
        embedder = await self._holder.get(request.model_version)
        if not embedder.reads_text:
            raise TextSearchOff(f"embedder {embedder.version} has no text tower; search with a picture")
        vectors = await asyncio.get_running_loop().run_in_executor(
            self._executor, embedder.embed_texts, texts
        )
        return _reply(embedder, vectors)


def crop_pixels(
    embedder: Embedder, images: Sequence[bytes], place: int, boxes: Sequence[Box], settings: Settings
) -> Tensor:
    """What ``embedder.of_pixels`` takes of each of ``boxes`` of the encoded picture at ``place``.

    Raises ``BadImage``.
    """
    picture = open_one(images, place, settings)
    return embedder.pixels([crop(picture, box) for box in boxes])


def _reply(embedder: Embedder, vectors: NDArray[np.float32]) -> embed_pb2.EmbedReply:
    return embed_pb2.EmbedReply(
        vectors=vectors.astype("<f4").tobytes(),
        dim=embedder.dim,
        model_version=embedder.version,
        preprocessing=embedder.preprocessing,
    )
