"""A bucket behind a network that loses and spoils answers, and one that refuses."""

import json
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from serving.bucket.blobs import Blobs
from serving.errors import BadSettings, Unavailable, Unverified
from serving.location import Bucket
from tests.between import Answer, Meddle, Request, between
from tests.gcs_process import BUCKET, EMULATOR, GcsProcess

SHOP = Bucket(BUCKET, "shop")


@contextmanager
def blobs_behind(meddle: Meddle, gcs: GcsProcess | None = None) -> Iterator[Blobs]:
    """Of a bucket's folder of its own; without ``gcs`` all answers are the meddler's."""
    with between(meddle, (lambda _: gcs.url) if gcs else None) as url, pytest.MonkeyPatch.context() as patch:
        patch.setenv(EMULATOR, url)
        blobs = Blobs(Bucket(BUCKET, uuid.uuid4().hex))
        try:
            yield blobs
        finally:
            blobs.close()


class Loses:
    """Hangs up instead of the first answer to each of these methods."""

    def __init__(self, *methods: str) -> None:
        self.left = set(methods)

    def __call__(self, request: Request, ask: Callable[[], Answer]) -> Answer | None:
        answer = ask()
        if request.method not in self.left:
            return answer
        self.left.discard(request.method)
        return None


def test_an_answer_that_is_lost_is_asked_for_again(gcs: GcsProcess) -> None:
    network = Loses()
    with blobs_behind(network, gcs) as blobs:
        network.left = {"POST"}
        first = blobs.write("a", b"one", 0)
        assert not network.left, "the first attempt wrote it, the second found it there"
        network.left = {"POST", "GET"}
        second = blobs.write("a", b"two", first)
        assert second > first
        assert blobs.read("a") == b"two"
        network.left = {"PATCH", "DELETE"}
        assert blobs.note_renewed("a", 1e10)
        head = blobs.head("a")
        assert head is not None
        assert (head.generation, head.changed_at) == (second, 1e10)
        blobs.delete("a")
        assert blobs.head("a") is None
        assert not network.left


def test_what_comes_spoilt_is_not_taken(gcs: GcsProcess) -> None:
    def spoils(request: Request, ask: Callable[[], Answer]) -> Answer:
        status, headers, data = ask()
        return status, headers, data[:-1] + b"?" if data.endswith(b"whole") else data

    with blobs_behind(spoils, gcs) as blobs:
        blobs.write("a", b"it is whole")
        with pytest.raises(Unverified) as error:
            blobs.read("a")
    assert error.value.message == (
        f"what was sent to {blobs.bucket}, or came from it, does not have the checksum that Google says"
    )


def test_a_bucket_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    with between(refuses(503, "We are away.")) as url:
        monkeypatch.setenv(EMULATOR, url)
        with pytest.raises(Unavailable) as error:
            Blobs(SHOP, within_s=0.1)
    assert error.value.message == f"gs://{BUCKET}/shop does not answer (We are away.); it is asked again"


def refuses(status: int, message: str) -> Meddle:
    """As Google words it."""
    body = json.dumps({"error": {"code": status, "message": message}}).encode()
    return lambda *_: (status, [("Content-Type", "application/json")], body)


LOGIN = (
    "`gcloud auth application-default login` makes them for a person, workload identity or "
    "GOOGLE_APPLICATION_CREDENTIALS for a process"
)
REFUSALS = {
    "no bucket": (
        404,
        "The specified bucket does not exist.",
        f"there is no bucket {BUCKET}; name one that is there, or make it: `gcloud storage buckets create "
        f"gs://{BUCKET} --uniform-bucket-level-access`",
    ),
    "no rights": (
        403,
        "search@shop.iam.gserviceaccount.com does not have storage.objects.list access to the bucket.",
        "no right to what is needed (search@shop.iam.gserviceaccount.com does not have storage.objects.list "
        "access to the bucket.); who only serves needs roles/storage.objectViewer on the bucket, the "
        "pipeline roles/storage.objectUser, and neither a retention policy nor a hold may be on it",
    ),
    "no credentials": (
        401,
        "Anonymous caller does not have storage.objects.list access to the Google Cloud Storage bucket.",
        f"there are no Google credentials; {LOGIN}",
    ),
    "a project that may not be used": (
        403,
        "Caller does not have required permission to use project shop-x. Grant the caller the "
        "roles/serviceusage.serviceUsageConsumer role.",
        "the project that is to pay is a wrong one (Caller does not have required permission to use project "
        "shop-x. Grant the caller the roles/serviceusage.serviceUsageConsumer role.); set "
        "GOOGLE_CLOUD_QUOTA_PROJECT to one that these credentials may use",
    ),
    "something else": (400, "Invalid argument.", "Google cannot do what is asked of it (Invalid argument.)"),
    "no project": (
        400,
        "Bucket is a requester pays bucket but no user project provided.",
        "the project that is to pay is a wrong one (Bucket is a requester pays bucket but no user project "
        "provided.); set GOOGLE_CLOUD_QUOTA_PROJECT to one that these credentials may use",
    ),
}


@pytest.mark.parametrize(("status", "google", "said"), REFUSALS.values(), ids=REFUSALS)
def test_a_refusal_names_the_mend(
    status: int, google: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with between(refuses(status, google)) as url:
        monkeypatch.setenv(EMULATOR, url)
        with pytest.raises(BadSettings) as error:
            Blobs(SHOP)
    assert error.value.message == f"IMGSEARCH_OBJECTS is gs://{BUCKET}/shop: {said}"


def test_without_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (EMULATOR, "GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_CLOUD_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    with pytest.raises(BadSettings) as error:
        Blobs(SHOP)
    assert error.value.message == (
        f"IMGSEARCH_OBJECTS is gs://{BUCKET}/shop: there are no Google credentials; {LOGIN}"
    )


def test_credentials_that_are_no_longer_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    body = b'{"error": "invalid_grant", "error_description": "Invalid JWT Signature."}'
    monkeypatch.delenv(EMULATOR, raising=False)
    with between(lambda *_: (400, [("Content-Type", "application/json")], body)) as url:
        account = {"type": "service_account", "client_email": "search@shop", "token_uri": url}
        (tmp_path / "key.json").write_text(json.dumps({**account, "private_key": key.decode()}))
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "key.json"))
        with pytest.raises(BadSettings) as error:
            Blobs(SHOP)
    assert error.value.message.startswith(
        f"IMGSEARCH_OBJECTS is gs://{BUCKET}/shop: the Google credentials do not work "
        "(('invalid_grant: Invalid JWT Signature.', "
    )
    assert error.value.message.endswith(f"; {LOGIN}")


def test_a_large_upload_goes_on_where_it_broke_off() -> None:
    """Its parts, of 16 MiB, are sent on where the bucket says."""
    data, started = os.urandom(20 * 2**20), []
    sent = 0

    def breaks(request: Request, ask: Callable[[], Answer]) -> Answer | None:
        nonlocal sent
        sent += request.method == "PUT"
        return None if request.method == "PUT" and sent == 2 else ask()

    def behind(url: str) -> str:
        started.append(GcsProcess(url))
        return started[0].url

    with between(breaks, behind) as url, pytest.MonkeyPatch.context() as patch:
        patch.setenv(EMULATOR, url)
        blobs = Blobs(SHOP)
        try:
            blobs.write("large", data)
            assert blobs.read("large") == data
            assert sent == 3
        finally:
            blobs.close()
            started[0].kill()
