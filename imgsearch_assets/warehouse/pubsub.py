"""Messages of a Pub/Sub subscription.

``PUBSUB_EMULATOR_HOST`` names an emulator, as to all of Google's clients.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from google.api_core import exceptions
from google.cloud.pubsub_v1 import SubscriberClient

from imgsearch_assets.warehouse.google_errors import told
from serving.errors import ImgsearchError, Unavailable

log = logging.getLogger(__name__)

# Until the first message is there; a look is a few seconds after the last one.
_WAIT_S = 2.0
_CALL_S = 10.0
# Of a message that waits for its run; each look says it again.
_HELD_S = 120
_RIGHTS = "roles/pubsub.subscriber on it"
_SETTING = "IMGSEARCH_PUBSUB_SUBSCRIPTION"


@dataclass(frozen=True)
class Subscription:
    """``name`` is ``projects/P/subscriptions/S``; at most ``batch`` messages are taken at once."""

    name: str
    batch: int

    @contextmanager
    def open(self) -> "Iterator[_Open]":
        """Raises ``BadSettings`` where there are no credentials."""
        with told(f"opening {self.name}", _RIGHTS, _SETTING):
            client = SubscriberClient()
        with client:
            yield _Open(client, self.name, self.batch)


@dataclass(frozen=True)
class _Open:
    client: SubscriberClient
    name: str
    batch: int

    def take(self) -> Sequence[str]:
        """Raises ``BadSettings`` and ``BadInput``; where Pub/Sub is away the catalogue is still looked at."""
        try:
            with self._told("taking messages of"):
                request = {"subscription": self.name, "max_messages": self.batch}
                found = self.client.pull(request=request, timeout=_WAIT_S, retry=None)
        except Unavailable as error:
            if not isinstance(error.__cause__, exceptions.DeadlineExceeded):
                log.warning("%s", error)
            return ()
        return [message.ack_id for message in found.received_messages]

    def hold(self, ids: Sequence[str]) -> None:
        if ids:
            with self._quietly("holding messages of"):
                request = {"subscription": self.name, "ack_ids": ids, "ack_deadline_seconds": _HELD_S}
                self.client.modify_ack_deadline(request=request, timeout=_CALL_S)

    def acknowledge(self, ids: Sequence[str]) -> None:
        if ids:
            with self._quietly("acknowledging messages of"):
                self.client.acknowledge(request={"subscription": self.name, "ack_ids": ids}, timeout=_CALL_S)

    def _told(self, doing: str) -> AbstractContextManager[None]:
        return told(f"{doing} {self.name}", _RIGHTS, _SETTING)

    @contextmanager
    def _quietly(self, doing: str) -> Iterator[None]:
        """A message for which that failed comes again, which costs a look."""
        try:
            with self._told(doing):
                yield
        except ImgsearchError as error:
            log.warning("%s", error)
