"""Clients of BigQuery: Dagster's resource, which knows of other addresses as well."""

from collections.abc import Iterator
from contextlib import contextmanager

import grpc
from dagster_gcp import BigQueryResource
from google.api_core.client_options import ClientOptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery
from google.cloud.bigquery_storage_v1 import BigQueryReadClient
from google.cloud.bigquery_storage_v1.services.big_query_read.transports import BigQueryReadGrpcTransport
from pydantic import Field

# An emulator is on this machine, and its batches of rows are as large as Google's.
_EMULATED = [("grpc.max_receive_message_length", -1)]


class BigQueryClients(BigQueryResource):
    """Credentials are those of the process (workload identity); whoever gets a client closes it."""

    endpoint: str | None = Field(default=None, description="Another address of the API.")
    storage_endpoint: str | None = Field(default=None, description="The same of the Storage Read API.")

    def client(self) -> bigquery.Client:
        """Raises as ``google.auth.default``."""
        return bigquery.Client(
            project=self.project,
            location=self.location,
            credentials=AnonymousCredentials() if self._emulated else None,
            client_options=ClientOptions(api_endpoint=self.endpoint) if self.endpoint else None,
        )

    def reader(self) -> BigQueryReadClient | None:
        """Of the Storage Read API; None for an emulator that has none. Raises as ``google.auth.default``."""
        if self._emulated:
            if self.storage_endpoint is None:
                return None
            channel = grpc.insecure_channel(self.storage_endpoint, _EMULATED)
            return BigQueryReadClient(transport=BigQueryReadGrpcTransport(channel=channel))
        if self.storage_endpoint is None:
            return BigQueryReadClient()
        return BigQueryReadClient(client_options=ClientOptions(api_endpoint=self.storage_endpoint))

    @contextmanager
    def get_client(self) -> Iterator[bigquery.Client]:
        client = self.client()
        try:
            yield client
        finally:
            client.close()

    @property
    def _emulated(self) -> bool:
        return self.endpoint is not None and self.endpoint.startswith("http://")
