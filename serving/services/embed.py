"""The embed service: parts of pictures to vectors."""

import asyncio
from concurrent.futures import Executor

import numpy as np

from serving.errors import BadInput
from serving.images.box import Box, crop
from serving.models.embedder import Embedder
from serving.proto import embed_pb2, embed_pb2_grpc
from serving.rpc.unary import Context
from serving.services.pictures import check_count, open_one
from serving.settings import Settings


class EmbedServicer(embed_pb2_grpc.EmbedServicer):
    """``executor`` decodes and runs the network, so that health goes on answering."""

    def __init__(self, embedder: Embedder, settings: Settings, executor: Executor) -> None:
        self._embedder = embedder
        self._settings = settings
        self._executor = executor

    async def Embed(self, request: embed_pb2.EmbedRequest, context: Context) -> embed_pb2.EmbedReply:
        check_count("images", len(request.images), self._settings)
        check_count("crops", len(request.crops), self._settings)
        boxes = []
        for place, asked in enumerate(request.crops):
            if asked.image >= len(request.images):
                raise BadInput(
                    f"crops[{place}]: there is no image {asked.image}; there are {len(request.images)}"
                )
            boxes.append(Box(asked.box.x0, asked.box.y0, asked.box.x1, asked.box.y1))
        return await asyncio.get_running_loop().run_in_executor(self._executor, self._embed, request, boxes)

    def _embed(self, request: embed_pb2.EmbedRequest, boxes: list[Box]) -> embed_pb2.EmbedReply:
        vectors = np.empty((len(boxes), self._embedder.dim), np.float32)
        for place in range(len(request.images)):
            rows = [row for row, asked in enumerate(request.crops) if asked.image == place]
            if rows:
                picture = open_one(request.images, place, self._settings)
                vectors[rows] = self._embedder.embed([crop(picture, boxes[row]) for row in rows])
        return embed_pb2.EmbedReply(
            vectors=vectors.astype("<f4").tobytes(),
            dim=self._embedder.dim,
            model_version=self._embedder.version,
            preprocessing=self._embedder.preprocessing,
        )
