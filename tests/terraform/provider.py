"""A Google provider that knows what may be said to the real one, and makes nothing.

Terraform asks a provider for its schemas and then for a plan of each resource; this one has the schemas of
the real one (google_schema.json) and plans exactly what it is told; what only Google knows is unknown. So
`terraform validate` and `terraform plan` are Terraform's own, without a network or an account.
"""

import json
import os
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import msgpack

from tests.terraform.take_schema import ADDRESS, SCHEMA, Json

_messages, _services = grpc.protos_and_services(  # type: ignore[attr-defined]
    str(Path(__file__).with_name("provider.proto").relative_to(Path(__file__).parents[2]))
)
_UNKNOWN = msgpack.ExtType(0, b"\x00")
_NESTING = {"single": 1, "list": 2, "set": 3, "map": 4}
# What Google would answer, by kind of data source.
ANSWERS: dict[str, Json] = {"google_project": {"number": "123456789012"}}


def schemas() -> tuple[Json, Json]:
    """Of resources, and of data sources, by kind."""
    of_google = json.loads(SCHEMA.read_text())["provider_schemas"][ADDRESS]
    return of_google["resource_schemas"], of_google["data_source_schemas"]


def _unpacked(value: Any) -> Any:
    return msgpack.unpackb(value.msgpack, strict_map_key=False)


def _packed(value: Any) -> Any:
    return _messages.DynamicValue(msgpack=msgpack.packb(value))


def _block(said: Json) -> Any:
    block = _messages.Schema.Block()
    for name, each in said.get("attributes", {}).items():
        flags = {flag: True for flag in ("required", "optional", "computed") if each.get(flag)}
        block.attributes.add(name=name, type=json.dumps(each["type"]).encode(), **flags)
    for name, each in said.get("block_types", {}).items():
        bounds = {key: each[key] for key in ("min_items", "max_items") if key in each}
        mode = _NESTING[each["nesting_mode"]]
        block.block_types.add(type_name=name, block=_block(each["block"]), nesting=mode, **bounds)
    return block


def _schema(said: Json) -> Any:
    return _messages.Schema(version=said["version"], block=_block(said["block"]))


def _planned(value: Json, block: Json) -> Json:
    """``value`` as it is told, and unknown where Google decides."""
    found = dict(value)
    for name, each in block.get("attributes", {}).items():
        if each.get("computed") and found[name] is None:
            found[name] = _UNKNOWN
    for name, each in block.get("block_types", {}).items():
        below = found[name]
        if isinstance(below, list):
            found[name] = [_planned(one, each["block"]) if isinstance(one, dict) else one for one in below]
        elif isinstance(below, dict):
            found[name] = _planned(below, each["block"])
    return found


class Provider(_services.ProviderServicer):  # type: ignore[misc]
    """Answers of protocol 5."""

    def __init__(self) -> None:
        self._resources, self._data = schemas()
        self._project = ""

    def GetSchema(self, request: Any, context: Any) -> Any:
        strings = ("project", "region", "billing_project")
        own: Json = {name: {"type": "string", "optional": True} for name in strings}
        own |= {"user_project_override": {"type": "bool", "optional": True}}
        own |= {"default_labels": {"type": ["map", "string"], "optional": True}}
        return _messages.Schemas(
            provider=_schema({"version": 0, "block": {"attributes": own}}),
            resource_schemas={name: _schema(said) for name, said in self._resources.items()},
            data_source_schemas={name: _schema(said) for name, said in self._data.items()},
        )

    def PrepareProviderConfig(self, request: Any, context: Any) -> Any:
        return _messages.Prepared(prepared_config=request.config)

    def Configure(self, request: Any, context: Any) -> Any:
        self._project = _unpacked(request.config)["project"] or ""
        return _messages.Nothing()

    def PlanResourceChange(self, request: Any, context: Any) -> Any:
        proposed = _unpacked(request.proposed_new_state)
        planned = _planned(proposed, self._resources[request.type_name]["block"])
        if request.type_name == "google_service_account":  # which the real one knows beforehand, too
            email = f"{planned['account_id']}@{self._project}.iam.gserviceaccount.com"
            planned |= {"email": email, "member": f"serviceAccount:{email}"}
        return _messages.Planned(planned_state=_packed(planned), legacy_type_system=True)

    def ReadDataSource(self, request: Any, context: Any) -> Any:
        told = {name: value for name, value in _unpacked(request.config).items() if value is not None}
        empty = dict.fromkeys(self._data[request.type_name]["block"]["attributes"])
        return _messages.Found(state=_packed({**empty, **ANSWERS[request.type_name], **told}))

    def _nothing(self, request: Any, context: Any) -> Any:
        return _messages.Nothing()

    ValidateResourceTypeConfig = ValidateDataSourceConfig = Stop = _nothing


@contextmanager
def serving() -> Iterator[dict[str, str]]:
    """Serve it on loopback; what Terraform's environment has to say for it to be asked, not the real one."""
    server = grpc.server(futures.ThreadPoolExecutor(4))
    _services.add_ProviderServicer_to_server(Provider(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    reached = {
        "Protocol": "grpc",
        "ProtocolVersion": 5,
        "Pid": os.getpid(),
        "Test": True,
        "Addr": {"Network": "tcp", "String": f"127.0.0.1:{port}"},
    }
    try:
        yield {"TF_REATTACH_PROVIDERS": json.dumps({ADDRESS: reached})}
    finally:
        server.stop(None)
