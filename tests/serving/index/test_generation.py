import pytest
from pydantic import ValidationError

from serving.index.generation import Manifest, manifest_key


def test_a_manifest_survives_being_written(shop) -> None:
    manifest = shop.build()
    assert Manifest.model_validate_json(manifest.to_json()) == manifest
    assert manifest.key == manifest_key(manifest.id) == f"generations/{manifest.id}/manifest.json"
    assert {segment.kind for segment in manifest.segments} == {"base", "items", "products"}


def test_the_id_is_that_of_the_content(shop) -> None:
    manifest = shop.build()
    assert manifest.id == manifest.expected_id()
    other = manifest.model_dump() | {"embedder": "another"}
    with pytest.raises(ValidationError, match=f"the id {manifest.id} is not that of what the manifest names"):
        Manifest.model_validate(other)


@pytest.mark.parametrize(
    "change",
    [
        {"format": 4},
        {"dim": 0},
        {"metric": "l2"},
        {"stranger": 1},
        {"segments": ()},
        {"id": "../../etc"},
    ],
)
def test_what_is_no_manifest_is_refused(shop, change: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Manifest.model_validate(shop.build().model_dump() | change)


def test_a_segment_never_names_a_path_elsewhere(shop) -> None:
    dumped = shop.build().model_dump()
    dumped["segments"][0]["key"] = "../secrets"
    with pytest.raises(ValidationError, match="String should match pattern"):
        Manifest.model_validate(dumped)
