"""What Google says when it refuses, as our errors, each with its mend."""

import contextlib
from collections.abc import Iterator

import requests
from google.api_core.exceptions import (
    BadRequest,
    Forbidden,
    GoogleAPICallError,
    NotFound,
    PreconditionFailed,
    RetryError,
    Unauthorized,
)
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError, RefreshError, TransportError
from google.cloud.storage.exceptions import DataCorruption

from serving.errors import BadSettings, ImgsearchError, Unavailable, Unverified
from serving.location import Bucket

_LOGIN = (
    "`gcloud auth application-default login` makes them for a person, workload identity or "
    "GOOGLE_APPLICATION_CREDENTIALS for a process"
)
# Words of an answer that is about the project that pays, not about the bucket.
_PROJECT = ("user project", "requester pays", "serviceusage", "quota project")


@contextlib.contextmanager
def told(bucket: Bucket) -> Iterator[None]:
    """Turn what the client raises into ``BadSettings``, ``Unavailable`` or ``Unverified``.

    ``NotFound`` and ``PreconditionFailed`` pass: what they mean is known to who asked.
    """
    try:
        yield
    except (NotFound, PreconditionFailed):
        raise
    except (
        GoogleAPICallError,
        GoogleAuthError,
        RetryError,
        DataCorruption,
        requests.RequestException,
    ) as error:
        raise _error(bucket, error) from error


def no_bucket(bucket: Bucket) -> BadSettings:
    return BadSettings(
        f"IMGSEARCH_OBJECTS is {bucket}: there is no bucket {bucket.name}; name one that is there, or make "
        f"it: `gcloud storage buckets create gs://{bucket.name} --uniform-bucket-level-access`"
    )


def _error(bucket: Bucket, error: Exception) -> ImgsearchError:
    said = _first_line(error)
    if isinstance(error, DefaultCredentialsError):
        return BadSettings(f"IMGSEARCH_OBJECTS is {bucket}: there are no Google credentials; {_LOGIN}")
    if isinstance(error, RefreshError | Unauthorized):
        return BadSettings(
            f"IMGSEARCH_OBJECTS is {bucket}: the Google credentials do not work ({said}); {_LOGIN}"
        )
    if isinstance(error, Forbidden | BadRequest) and any(word in said.lower() for word in _PROJECT):
        return BadSettings(
            f"IMGSEARCH_OBJECTS is {bucket}: the project that is to pay is a wrong one ({said}); set "
            "GOOGLE_CLOUD_QUOTA_PROJECT to one that these credentials may use"
        )
    if isinstance(error, Forbidden):
        return BadSettings(
            f"IMGSEARCH_OBJECTS is {bucket}: no right to what is needed ({said}); who only serves needs "
            "roles/storage.objectViewer on the bucket, the pipeline roles/storage.objectUser, and neither a "
            "retention policy nor a hold may be on it"
        )
    if isinstance(error, DataCorruption):
        return Unverified(
            f"what was sent to {bucket}, or came from it, does not have the checksum that Google says"
        )
    if isinstance(error, BadRequest):
        return BadSettings(f"IMGSEARCH_OBJECTS is {bucket}: Google cannot do what is asked of it ({said})")
    if isinstance(error, RetryError | TransportError | requests.RequestException | GoogleAPICallError):
        return Unavailable(f"{bucket} does not answer ({said}); it is asked again")
    return BadSettings(f"IMGSEARCH_OBJECTS is {bucket}: {said}")


def _first_line(error: Exception) -> str:
    """Of what Google says; without the address that was asked, and what is told to programmers."""
    if isinstance(error, RetryError) and isinstance(error.cause, Exception):
        return _first_line(error.cause)
    message = str(error)
    if isinstance(error, GoogleAPICallError) and error.response is not None:
        with contextlib.suppress(
            ValueError, LookupError, TypeError
        ):  # what stands between us has words of its own
            message = error.response.json()["error"]["message"]
    return message.splitlines()[0] if message else type(error).__name__
