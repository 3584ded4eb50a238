"""Write what the documentation takes from the code: docs/settings.md."""

from pathlib import Path

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from imgsearch_assets.environment import PipelineSettings
from serving.settings import Settings

PAGE = Path(__file__).parent / "settings.md"


def _row(prefix: str, name: str, field: FieldInfo) -> str:
    default = field.get_default(call_default_factory=True)
    shown = sorted(default) if isinstance(default, frozenset) else default
    return f"| `{prefix}{name.upper()}` | `{shown}` | {field.description or ''} |"


def _table(title: str, settings: type[BaseSettings]) -> str:
    prefix = settings.model_config.get("env_prefix", "")
    rows = [_row(prefix, name, field) for name, field in settings.model_fields.items()]
    return "\n".join([f"## {title}", "", "| Variable | Default | Meaning |", "|---|---|---|", *rows, ""])


def settings_page() -> str:
    """docs/settings.md as text."""
    head = "# Settings\n\nRead once a process from the environment. `make docs` writes this page from the code.\n"
    return "\n".join([head, _table("Serving", Settings), _table("Pipeline", PipelineSettings)])


if __name__ == "__main__":
    PAGE.write_text(settings_page())
