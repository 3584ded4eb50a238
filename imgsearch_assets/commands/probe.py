"""``imgsearch probe``: whether shoppers find what they should, asked from outside."""

import time
from pathlib import Path
from typing import Annotated

import typer

from imgsearch_assets.commands.terminal import one_sentence
from imgsearch_assets.local.installation import objects_of
from serving.settings import Place


def probe(
    home: Annotated[Path, typer.Option(envvar="IMGSEARCH_HOME", help="Folder of one installation.")],
    environment: Annotated[
        Place, typer.Option(envvar="IMGSEARCH_ENVIRONMENT", help="Whose live generation is asked for.")
    ] = "local",
    url: Annotated[
        str | None,
        typer.Option(
            help="The public API.", show_default="IMGSEARCH_STAGING_API_URL or IMGSEARCH_PRODUCTION_API_URL"
        ),
    ] = None,
    deadline: Annotated[float, typer.Option(min=1, help="Seconds that a look may take.")] = 30.0,
    every: Annotated[
        float | None,
        typer.Option(min=1, help="Seconds between looks, for ever.", show_default="one look"),
    ] = None,
    metrics_port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="With --every: where Prometheus reads.", show_default="none"),
    ] = None,
) -> None:
    """Golden queries of what is live, through the public API: a JSON line, and status 1 if one is wrong.

    The API key is IMGSEARCH_STAGING_KEY or IMGSEARCH_PRODUCTION_KEY, as of whoever verifies a release, else
    IMGSEARCH_SERVICE_KEY.
    """
    from imgsearch_assets.environment import read_told
    from imgsearch_assets.trial.probe import Probe, ProbeMetrics
    from serving.errors import BadSettings
    from serving.telemetry import show

    if metrics_port is not None and every is None:
        raise typer.BadParameter("--metrics-port is for a probe that stays: add --every")
    with one_sentence():
        told = read_told()
        witnesses = told.witnesses(environment)
        api_url = url or witnesses.api_url
        if api_url is None:
            raise BadSettings(f"no public API of {environment} is named: give --url")
        own = told.serving.service_key
        key = witnesses.caller.key or (own.get_secret_value() if own else None)
        looking = Probe(objects_of(home), environment, api_url, key, deadline)
        metrics = ProbeMetrics()
        if metrics_port is not None:
            show(metrics.registry, told.serving.host, metrics_port)
        while True:
            probed = looking.look()
            metrics.saw(probed)
            typer.echo(probed.json())
            if every is None:
                raise typer.Exit(not probed.right)
            time.sleep(every)
