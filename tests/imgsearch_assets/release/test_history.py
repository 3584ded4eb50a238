from imgsearch_assets.release.history import rows_of
from imgsearch_assets.release.publish import publish, rollback
from serving.index.store import end_trial, read_pointer


def test_releases_are_rows_that_say_what_became_of_them(shop) -> None:
    ids = [shop.build(name).id for name in ("s1", "s2")]
    publish(shop.store, "local", ids[0], "me", "first")
    publish(shop.store, "local", ids[1], "me", "newer", on_trial=True)

    def states() -> list[tuple[str, str]]:
        pointer = read_pointer(shop.store, "local").pointer
        assert pointer is not None
        return [(row[0], row[-1]) for row in rows_of(pointer)]

    assert states() == [(ids[1], "on trial"), (ids[0], "")]
    rollback(shop.store, "local", "me", "bad")
    assert states() == [(ids[0], "live"), (ids[1], "went back"), (ids[0], "")]
    again = publish(shop.store, "local", ids[1], "me", "mended", on_trial=True)
    end_trial(shop.store, "local", again.live)
    assert states() == [(ids[1], "live"), (ids[0], ""), (ids[1], "went back"), (ids[0], "")]
