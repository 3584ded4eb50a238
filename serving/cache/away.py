"""Whether Redis counts as down: for a moment after a failure, in which nobody waits for it."""

import logging
import time

from serving.cache.troubles import trouble

log = logging.getLogger(__name__)

DOWN_FOR_S = 1.0


class Away:
    """True while Redis counts as down. ``part`` is what a failure's line in the log says of it."""

    def __init__(self, part: str) -> None:
        self._part = part
        self._until_s = 0.0

    def __bool__(self) -> bool:
        return time.monotonic() < self._until_s

    def failed(self, error: Exception) -> None:
        self._until_s = time.monotonic() + DOWN_FOR_S
        log.warning("%s; %s", trouble(error).said, self._part)
