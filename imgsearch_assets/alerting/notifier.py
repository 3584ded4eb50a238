"""Telling operators: always the log, and the webhooks that are set.

Every target is told in order and by itself: one that is away holds up no other, and is told later what it
missed. ``deliver`` returns within ``whole_s`` and never raises.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import aiohttp
import tenacity
from pydantic import SecretStr

from imgsearch_assets.alerting.alerts import Alert
from serving.redaction import Redaction

log = logging.getLogger(__name__)

LOG, SLACK, WEBHOOK = "log", "slack", "webhook"
_ATTEMPTS = 3
_BUSY = 429


class _Refused(Exception):
    """A webhook did not take an alert; says why, and nothing of the address, which is a secret."""

    def __init__(self, why: str, again: bool) -> None:
        super().__init__(why)
        self.again = again


class Notifier:
    """Sends alerts, without what ``redaction`` knows. An attempt may take ``attempt_s``, all ``whole_s``."""

    def __init__(
        self,
        slack: SecretStr | None = None,
        webhook: SecretStr | None = None,
        redaction: Redaction | None = None,
        attempt_s: float = 3.0,
        whole_s: float = 10.0,
    ) -> None:
        self._urls = {name: url for name, url in ((SLACK, slack), (WEBHOOK, webhook)) if url is not None}
        self._redaction = redaction or Redaction()
        self._attempt_s = attempt_s
        self._whole_s = whole_s

    @property
    def targets(self) -> tuple[str, ...]:
        return (LOG, *self._urls)

    def deliver(self, alerts: Mapping[str, Sequence[Alert]]) -> dict[str, int]:
        """Send each target its alerts; how many of them, from the first on, it has taken."""
        for alert in alerts.get(LOG, ()):
            log.warning("%s", alert.without(self._redaction).text())
        taken = {name: len(due) if name == LOG else 0 for name, due in alerts.items()}
        waiting = {name: due for name, due in alerts.items() if due and name in self._urls}
        if waiting:
            asyncio.run(self._send_all(waiting, taken))
        return taken

    async def _send_all(self, waiting: Mapping[str, Sequence[Alert]], taken: dict[str, int]) -> None:
        timeout = aiohttp.ClientTimeout(total=self._attempt_s)
        async with aiohttp.ClientSession(timeout=timeout) as session:

            async def send(name: str, due: Sequence[Alert]) -> None:
                try:
                    async with asyncio.timeout(self._whole_s):
                        for alert in due:
                            await _retrying()(self._post, session, name, alert)
                            taken[name] += 1
                except TimeoutError:
                    log.warning("%s takes no alerts: no answer in time; they are sent later", name)
                except _Refused as error:
                    log.warning("%s takes no alerts: %s; they are sent later", name, error)

            await asyncio.gather(*(send(name, due) for name, due in waiting.items()))

    async def _post(self, session: aiohttp.ClientSession, name: str, alert: Alert) -> None:
        alert = alert.without(self._redaction)
        body = alert.slack() if name == SLACK else alert.json()
        url = self._urls[name].get_secret_value()
        try:
            async with session.post(url, json=body, allow_redirects=False) as reply:
                status = reply.status
        except TimeoutError:
            raise _Refused("no answer in time", True) from None
        except (aiohttp.ClientError, OSError) as error:  # whose text may have the address
            raise _Refused(type(error).__name__, True) from None
        if not 200 <= status < 300:
            raise _Refused(f"it answered {status}", status >= 500 or status == _BUSY)


def _retrying() -> Callable[..., Awaitable[Any]]:
    return tenacity.AsyncRetrying(
        retry=tenacity.retry_if_exception(lambda error: isinstance(error, _Refused) and error.again),
        stop=tenacity.stop_after_attempt(_ATTEMPTS),
        wait=tenacity.wait_random_exponential(0.2, max=2),
        reraise=True,
    )
