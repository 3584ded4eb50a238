import json
import os
import subprocess
import sys

from tests.serving.sinks import Sink

DYING = """
from serving import processes
from serving.__main__ import app

async def api(*_):
    raise KeyError("no more")

processes.api = api
app(["api", "--port", "0"])
"""


def test_an_unexpected_end_is_a_line_a_report_and_status_1(tmp_path, sink: Sink) -> None:
    done = subprocess.run(
        [sys.executable, "-c", DYING],
        env=os.environ | {"IMGSEARCH_HOME": str(tmp_path), "IMGSEARCH_SENTRY_DSN": sink.dsn()},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    line = json.loads(done.stderr.splitlines()[-1])
    assert (done.returncode, done.stdout) == (1, "")
    assert (line["level"], line["message"]) == ("critical", "the process ends: an unexpected error")
    assert line["exception"].endswith("KeyError: 'no more'")
    (event,) = sink.events
    assert (event["level"], event["tags"]) == ("fatal", {"service": "api"})
