"""What the Google provider takes, for the resources of k8s/terraform, out of the wheel that has all of it.

    pip download --no-deps cdktn-provider-google==VERSION
    python -m tests.terraform.take_schema cdktn_provider_google-VERSION-py3-none-any.whl

writes google_schema.json, in the form of `terraform providers schema -json`. Run it after k8s/terraform
begins to use another kind of resource, or another version of the provider.
"""

import io
import json
import re
import sys
import tarfile
import zipfile
from functools import cached_property
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
TERRAFORM = HERE.parents[1] / "k8s" / "terraform"
SCHEMA = HERE / "google_schema.json"
ADDRESS = "registry.terraform.io/hashicorp/google"
Json = dict[str, Any]

_SIMPLE = {"string": "string", "number": "number", "boolean": "bool"}
_ATTRIBUTE = re.compile(
    r"""^\s{8,12}(?P<name>\w+):\s\{\n
        \s+value:.*\n
        \s+isBlock:\s(?P<block>true|false),\n
        \s+type:\s"(?P<type>\w+)",\n
        \s+storageClassType:\s"(?P<stored>\w+)",\n""",
    re.VERBOSE | re.MULTILINE,
)
_MEMBER = re.compile(
    r"// (?P<name>\w+) - computed: (?P<computed>\w+), "
    r"optional: (?P<optional>\w+), required: (?P<required>\w+)\n"
    r"(?P<code>(?:(?!    // \w+ - computed).*\n){1,4})"
)


def used() -> list[tuple[str, str]]:
    """Every kind of resource and data source in k8s/terraform."""
    text = "".join(path.read_text() for path in TERRAFORM.rglob("*.tf"))
    return sorted(set(re.findall(r'^(resource|data) "(google_\w+)"', text, re.MULTILINE)))


class Source:
    """The JavaScript of one resource: classes that say of each name what it is."""

    def __init__(self, text: str) -> None:
        self._text = text

    @cached_property
    def _classes(self) -> dict[str, str]:
        parts = re.split(r"^class (\w+) extends ", self._text, flags=re.MULTILINE)
        return dict(zip(parts[1::2], parts[2::2], strict=True))

    def version(self) -> str:
        (version,) = set(re.findall(r"providerVersion: '([\d.]+)'", self._text))
        return str(version)

    def block(self, name: str) -> Json:
        """That of a class: attributes, and blocks in it."""
        settable = {each["name"]: each for each in _ATTRIBUTE.finditer(self._settable(name))}
        attributes: Json = {}
        blocks: Json = {}
        for member in _MEMBER.finditer(self._body(name)):
            said, key = settable.get(member["name"]), member["name"]
            if said is not None and said["block"] == "true":
                blocks[key] = self._nested(said, member)
                continue
            kind = self._type(said) if said is not None else self._computed(member["code"])
            flags = {flag: True for flag in ("computed", "optional", "required") if member[flag] == "true"}
            attributes[key] = {"type": kind, **flags}
        found: Json = {"attributes": attributes}
        return found | ({"block_types": blocks} if blocks else {})

    def _nested(self, said: re.Match[str], member: re.Match[str]) -> Json:
        struct = said["stored"].removesuffix("List") if said["type"] != "struct" else said["stored"]
        mode = "single" if said["type"] == "struct" else said["type"]
        found: Json = {"nesting_mode": mode, "block": self.block(struct)}
        if member["required"] == "true":
            found["min_items"] = 1
        if mode != "single" and f"new {struct}OutputReference(" in member["code"]:
            found["max_items"] = 1
        return found

    def _type(self, said: re.Match[str]) -> Any:
        stored = said["stored"]
        if said["type"] == "simple":
            return _SIMPLE[stored]
        element = re.fullmatch(r"(string|number|boolean|any)(List|Map)", stored)
        if element is None:
            return [said["type"], self._object(stored.removesuffix("List"))]
        return [said["type"], _SIMPLE.get(element[1], "string")]

    def _computed(self, code: str) -> Any:
        if (made := re.search(r"new (\w+?)(List|OutputReference)\(", code)) is not None:
            return ["list", self._object(made[1])]
        if (mapped := re.search(r"new cdktn\.(\w+?)Map(List)?\(", code)) is not None:
            found = ["map", _SIMPLE.get(mapped[1].lower(), "string")]
            return ["list", found] if mapped[2] else found
        asked = re.search(r"get(String|Number|Boolean|List|NumberList)Attribute", code)
        if asked is None:
            return "dynamic"
        if asked[1].endswith("List"):
            element = "number" if asked[1] == "NumberList" else "string"
            return ["set" if "tolist" in code else "list", element]
        return _SIMPLE[asked[1].lower()]

    def _object(self, struct: str) -> Any:
        """A type where a block is an attribute."""
        found = self.block(struct)
        types = {key: each["type"] for key, each in found["attributes"].items()}
        for key, each in found.get("block_types", {}).items():
            types[key] = [each["nesting_mode"], self._object_of(each["block"])]
        return ["object", types]

    def _object_of(self, block: Json) -> Any:
        return ["object", {key: each["type"] for key, each in block["attributes"].items()}]

    def _body(self, name: str) -> str:
        return self._classes.get(f"{name}OutputReference") or self._classes[name]

    def _settable(self, name: str) -> str:
        """Where it is said how what can be set is written; nothing of a class that is computed as a whole."""
        if f"{name}OutputReference" not in self._classes:
            return self._classes[name].split("synthesizeHclAttributes()", 1)[-1]
        function = f"function {name[0].lower()}{name[1:]}ToHclTerraform("
        return self._text.split(function, 1)[1].split("\nfunction ", 1)[0].split("\nclass ", 1)[0]

    def main(self, kind: str) -> Json:
        base = {"resource": "TerraformResource", "data": "TerraformDataSource"}[kind]
        (name,) = re.findall(rf"^class (\w+) extends cdktn\.{base} ", self._text, re.MULTILINE)
        return {"version": 0, "block": self.block(name)}


def taken(wheel: Path) -> Json:
    with zipfile.ZipFile(wheel) as whole:
        (inner,) = [name for name in whole.namelist() if name.endswith(".jsii.tgz")]
        with tarfile.open(fileobj=io.BytesIO(whole.read(inner))) as archive:
            wanted: dict[tuple[str, str], str] = {}
            folders = {_folder(kind, name): (kind, name) for kind, name in used()}
            for entry in archive:
                parts = entry.name.split("/")
                if entry.name.endswith(".js") and len(parts) > 3 and parts[2] in folders:
                    file = archive.extractfile(entry)
                    assert file is not None
                    key = folders[parts[2]]
                    wanted[key] = wanted.get(key, "") + file.read().decode()
    assert wanted.keys() == set(used()), set(used()) - wanted.keys()
    sources = {key: Source(text) for key, text in wanted.items()}
    (version,) = {source.version() for source in sources.values()}
    schemas: Json = {"resource": {}, "data": {}}
    for (kind, name), source in sorted(sources.items()):
        schemas[kind][name] = source.main(kind)
    return {
        "format_version": "1.0",
        "provider_versions": {ADDRESS: version},
        "provider_schemas": {
            ADDRESS: {
                "resource_schemas": schemas["resource"],
                "data_source_schemas": schemas["data"],
            }
        },
    }


def _folder(kind: str, name: str) -> str:
    found = name.removeprefix("google_").replace("_", "-")
    return found if kind == "resource" else f"data-google-{found}"


if __name__ == "__main__":
    SCHEMA.write_text(json.dumps(taken(Path(sys.argv[1])), separators=(",", ":"), sort_keys=True) + "\n")
