"""Where the table lies: ``bigquery:PROJECT.DATASET.TABLE``, or a file as in ``catalogue.source``."""

from imgsearch_assets.catalogue.warehouse import FileWarehouse, Warehouse
from imgsearch_assets.warehouse.settings import BIGQUERY, WarehouseSettings
from serving.errors import BadSettings


def open_warehouse(location: str, settings: WarehouseSettings, environment: str) -> Warehouse:
    """Of ``location``. Nothing is asked yet. Raises ``BadSettings`` for a location that cannot be meant."""
    if not location.startswith(BIGQUERY):
        return FileWarehouse(location)
    try:
        from imgsearch_assets.warehouse.bigquery import BigQueryWarehouse
    except ModuleNotFoundError as error:
        raise BadSettings(f"{location} needs {error.name}; install imgsearch[gcp]") from error
    return BigQueryWarehouse.at(location, settings, environment)
