"""What Google's clients raise, as errors of ours: each says what to mend."""

import concurrent.futures
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import requests.exceptions
from google.api_core import exceptions
from google.auth import exceptions as auth

from serving.errors import BadInput, BadSettings, ImgsearchError, Unavailable

NO_CREDENTIALS = (
    "there are no Google credentials that are taken; on a pod bind its service account (workload identity), "
    "elsewhere run: gcloud auth application-default login"
)
_PASSES = (
    exceptions.ServerError,
    exceptions.TooManyRequests,
    exceptions.RetryError,
    requests.exceptions.ConnectionError,
    requests.exceptions.Timeout,
    auth.TransportError,
    concurrent.futures.TimeoutError,
    ConnectionError,
)
_KNOWN = (*_PASSES, exceptions.GoogleAPICallError, auth.GoogleAuthError)
_BUSY = {"rateLimitExceeded", "quotaExceeded", "stopped", "timeout", "resourcesExceeded"}
_NOT_THERE = re.compile(r"Not found: (Project|Dataset|Table) ([\w.:-]+)")


@contextmanager
def told(doing: str, rights: str, setting: str = "IMGSEARCH_CATALOGUE") -> Iterator[None]:
    """Raise ours for Google's. ``doing`` is what is tried, ``rights`` what it takes, ``setting`` its name."""
    try:
        yield
    except _KNOWN as error:
        raise _ours(error, doing, rights, setting) from error


def _ours(error: Any, doing: str, rights: str, setting: str) -> ImgsearchError:
    said, reason = _said(error)
    if isinstance(error, _PASSES) or reason in _BUSY:
        return Unavailable(f"{doing}: Google does not answer in time or asks to wait ({said})")
    if isinstance(error, auth.GoogleAuthError | exceptions.Unauthorized):
        return BadSettings(f"{doing}: {NO_CREDENTIALS} ({said})")
    if isinstance(error, exceptions.Forbidden):
        if reason == "accessNotConfigured":
            return BadSettings(f"{doing}: the API is off in this project; enable it ({said})")
        return BadSettings(f"{doing}: no rights; grant the account {rights} ({said})")
    if reason == "bytesBilledLimitExceeded":
        return BadSettings(f"{doing}: it would bill more than IMGSEARCH_BIGQUERY_MAX_BYTES_BILLED ({said})")
    if isinstance(error, exceptions.NotFound):
        return _not_there(said, doing, setting)
    return BadInput(f"{doing}: Google refuses it ({said})")


def _not_there(said: str, doing: str, setting: str) -> ImgsearchError:
    found = _NOT_THERE.search(said)
    match found.groups() if found else ("", ""):
        case "Project", name:
            return BadSettings(
                f"{doing}: there is no project {name}; check IMGSEARCH_CATALOGUE and "
                "IMGSEARCH_BIGQUERY_PROJECT"
            )
        case "Dataset", name:
            return BadSettings(
                f"{doing}: there is no dataset {name}; check IMGSEARCH_CATALOGUE, and create "
                "IMGSEARCH_BIGQUERY_WORK_DATASET in the catalogue's location"
            )
        case "Table", name:
            return BadInput(f"{doing}: there is no table {name}; check IMGSEARCH_CATALOGUE")
        case _:
            return BadInput(f"{doing}: it is not there; check {setting} ({said})")


def _said(error: Any) -> tuple[str, str]:
    """The first sentence or so of Google's, and its reason; the text of an error has addresses beside it."""
    details = [it for it in getattr(error, "errors", ()) or () if isinstance(it, dict)]
    first = details[0] if details else {}
    text = str(first.get("message") or getattr(error, "message", "") or error or type(error).__name__)
    return " ".join(text.split())[:300], str(first.get("reason") or "")
