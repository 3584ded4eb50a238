"""Unexpected errors, sent to Sentry or to what speaks like it, with what this process answered with.

An error is unexpected when it is logged with its exception: by what answers a caller where an error is none
of ours, by whoever finds a task that ended, by the process at its end. Nothing of Sentry's own is on:
it sees no request, no local variable and no earlier log line.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from serving import telemetry
from serving.redaction import Redaction
from serving.settings import Settings

# How long the end of a process waits for what was not yet sent.
FLUSH_S = 2.0

# Of an event what we mean to send; before_send drops all else.
_SENT = frozenset(
    {
        "event_id",
        "timestamp",
        "platform",
        "level",
        "logger",
        "release",
        "environment",
        "server_name",
        "sdk",
        "tags",
        "exception",
    }
)


@contextmanager
def sent(settings: Settings, service: str) -> Iterator[None]:
    """Within the block unexpected errors are sent, at its end those that wait. Nothing without a DSN."""
    if settings.sentry_dsn is None:
        yield
        return
    reports = Reports(settings, service)
    logging.getLogger().addHandler(reports)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(reports)
        reports.close()


class Reports(logging.Handler):
    """Sends each record of an error that has its exception. Never waits, never raises; a full queue drops."""

    def __init__(self, settings: Settings, service: str) -> None:
        import sentry_sdk

        assert settings.sentry_dsn is not None  # noqa: S101 see ``sent``
        self._service = service
        self._redaction = Redaction.of(settings)
        self._client = sentry_sdk.Client(
            dsn=settings.sentry_dsn.get_secret_value(),
            environment=settings.environment,
            release=f"imgsearch@{telemetry.VERSION}",
            before_send=self._guarded,
            default_integrations=False,
            auto_enabling_integrations=False,
            auto_session_tracking=False,
            enable_backpressure_handling=False,
            include_local_variables=False,
            max_breadcrumbs=0,
            max_request_body_size="never",
            send_client_reports=False,
            shutdown_timeout=FLUSH_S,
            spotlight=False,
        )
        super().__init__(logging.ERROR)

    def emit(self, record: logging.LogRecord) -> None:
        if not record.exc_info or record.exc_info[1] is None:
            return
        from sentry_sdk.utils import event_from_exception

        try:
            event, hint = event_from_exception(
                record.exc_info,
                client_options=self._client.options,
                mechanism={"type": "logging", "handled": False},
            )
            event["level"] = "fatal" if record.levelno >= logging.CRITICAL else "error"
            event["logger"] = record.name
            tags = {"service": self._service, "request_id": telemetry.request_id.get(), **telemetry.versions}
            event["tags"] = {name: value for name, value in tags.items() if value}
            self._client.capture_event(event, hint)
        except Exception:
            self.handleError(record)

    def close(self) -> None:
        self._client.close(timeout=FLUSH_S)
        super().close()

    def _guarded(self, event: Any, hint: Any) -> Any:
        return self._redacted({name: value for name, value in event.items() if name in _SENT})

    def _redacted(self, value: Any) -> Any:
        match value:
            case str():
                return self._redaction(value)
            case dict():
                return {name: self._redacted(one) for name, one in value.items() if name != "vars"}
            case list():
                return [self._redacted(one) for one in value]
            case _:
                return value
