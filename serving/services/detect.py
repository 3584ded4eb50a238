"""The detect service: the garments on pictures."""

import asyncio
from concurrent.futures import Executor

from serving.images.decode import inspect
from serving.models.detector import Detector
from serving.models.holder import ModelHolder
from serving.proto import detect_pb2, detect_pb2_grpc, geometry_pb2
from serving.rpc.unary import Context
from serving.services.pictures import check_count, open_one
from serving.settings import Settings


class DetectServicer(detect_pb2_grpc.DetectServicer):
    """``executor`` decodes and runs the network, so that health goes on answering."""

    def __init__(self, holder: ModelHolder[Detector], settings: Settings, executor: Executor) -> None:
        self._holder = holder
        self._settings = settings
        self._executor = executor

    async def Detect(self, request: detect_pb2.DetectRequest, context: Context) -> detect_pb2.DetectReply:
        check_count("images", len(request.images), self._settings)
        detector = await self._holder.get()
        return await asyncio.get_running_loop().run_in_executor(
            self._executor, self._detect, detector, request
        )

    def _detect(self, detector: Detector, request: detect_pb2.DetectRequest) -> detect_pb2.DetectReply:
        return detect_pb2.DetectReply(
            images=[self._one(detector, request, place) for place in range(len(request.images))],
            model_version=detector.version,
        )

    def _one(
        self, detector: Detector, request: detect_pb2.DetectRequest, place: int
    ) -> detect_pb2.ImageDetections:
        (items,) = detector.detect([open_one(request.images, place, self._settings)])
        header = inspect(  # the picture was perhaps decoded at a smaller scale
            request.images[place],
            max_bytes=self._settings.max_picture_bytes,
            max_pixels=self._settings.max_picture_pixels,
        )
        detections = [
            detect_pb2.Detection(
                box=geometry_pb2.Box(x0=item.box.x0, y0=item.box.y0, x1=item.box.x1, y1=item.box.y1),
                category=item.category,
                score=item.score,
            )
            for item in items
        ]
        return detect_pb2.ImageDetections(detections=detections, width=header.width, height=header.height)
