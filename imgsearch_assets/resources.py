"""What the assets work with, made from the environment when a run starts."""

import dagster as dg

from imgsearch_assets.environment import Environment
from imgsearch_assets.references import ReferenceIOManager


def resources_of(environment: Environment) -> dict[str, object]:
    """By the names that assets ask for."""

    @dg.io_manager(required_resource_keys={"store"}, description="References between assets, as JSON.")
    def io_manager(context: dg.InitResourceContext) -> ReferenceIOManager:
        return ReferenceIOManager(context.resources.store)

    return {
        "environment": environment,
        **(environment.warehouse.resources if environment.pipeline.catalogue else {}),
        "store": dg.ResourceDefinition(lambda _: environment.store, description="The object store."),
        "io_manager": io_manager,
    }
