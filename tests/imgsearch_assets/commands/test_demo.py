"""What the demo says when a part of it ends by itself."""

import shlex

from imgsearch_assets.commands.demo import _again
from imgsearch_assets.local.redis_server import redis_command


def test_how_to_have_it_back_is_said() -> None:
    assert _again("dagster", "redis://h:1/0") == "Ctrl-C and the same command start all of it again."
    assert _again("redis", "redis://127.0.0.1:6400/0") == (
        f"Start it again with: {shlex.join(redis_command(6400))} "
        "(or: Ctrl-C and the same command start all of it again)."
    )
