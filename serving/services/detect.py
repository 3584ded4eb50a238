"""The detect service: the garments on pictures."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor

from torch import Tensor

from serving.images.decode import Header, inspect
from serving.models.detection import Detection
from serving.models.detector import Detector
from serving.models.holder import ModelHolder
from serving.proto import detect_pb2, detect_pb2_grpc, geometry_pb2
from serving.rpc.unary import Context
from serving.services.passes import Passes
from serving.services.pictures import check_count, ends_s, open_one
from serving.settings import Settings


class DetectServicer(detect_pb2_grpc.DetectServicer):
    """``executor`` opens pictures, so that a bad one is of its own call alone; ``passes`` run the network."""

    def __init__(
        self,
        holder: ModelHolder[Detector],
        settings: Settings,
        executor: Executor,
        passes: Passes[list[Detection]],
    ) -> None:
        self._holder = holder
        self._settings = settings
        self._executor = executor
        self._passes = passes

    async def Detect(self, request: detect_pb2.DetectRequest, context: Context) -> detect_pb2.DetectReply:
        count, ends = len(request.images), ends_s(context, self._settings)
        check_count("images", count, self._settings)
        with self._passes.room(count, ends):
            detector = await self._holder.get()
            loop = asyncio.get_running_loop()
            opened = [
                await loop.run_in_executor(self._executor, self._open, detector, request.images, place)
                for place in range(count)
            ]
            found = await self._passes.ask(detector, [pixels for pixels, _ in opened], ends)
        return detect_pb2.DetectReply(
            images=[_reply(items, header) for items, (_, header) in zip(found, opened, strict=True)],
            model_version=detector.version,
        )

    def _open(self, detector: Detector, images: Sequence[bytes], place: int) -> tuple[Tensor, Header]:
        """Pixels uint8 (1, 3, s, s), and of what picture: it was perhaps decoded at a smaller scale."""
        pixels = detector.pixels([open_one(images, place, self._settings)])
        header = inspect(
            images[place],
            max_bytes=self._settings.max_picture_bytes,
            max_pixels=self._settings.max_picture_pixels,
        )
        return pixels, header


def _reply(items: Sequence[Detection], header: Header) -> detect_pb2.ImageDetections:
    detections = [
        detect_pb2.Detection(
            box=geometry_pb2.Box(x0=item.box.x0, y0=item.box.y0, x1=item.box.x1, y1=item.box.y1),
            category=item.category,
            score=item.score,
        )
        for item in items
    ]
    return detect_pb2.ImageDetections(detections=detections, width=header.width, height=header.height)
