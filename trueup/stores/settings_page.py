"""The page of settings, docs/settings.md, made from the settings model: `python -m trueup.stores.settings_page`.

What a setting means, its default and what it may be are declared in `settings.py`; here they only become a table.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from trueup.stores.settings import Settings, project_root

PAGE: Final = project_root() / "docs" / "settings.md"
_HEAD: Final = """# Settings

Made from `trueup/stores/settings.py` by `python -m trueup.stores.settings_page`; do not edit it by hand.

Set them in the environment, or in `trueup.toml` in the working folder (or the file that `TRUEUP_SETTINGS` names) under
the same names in lower case without `TRUEUP_`. The environment wins. Every fault is named at once, with exit code 2.

| setting | default | what it is |
|---|---|---|
"""


def settings_page() -> str:
    """The page, in Markdown: one line per setting.

    Raises:
        ValueError: a setting has no description.
    """
    nameless = [name for name, field in Settings.model_fields.items() if not field.description]
    if nameless:
        raise ValueError(f"give these settings a description in settings.py: {', '.join(nameless)}")
    return _HEAD + "".join(_line(name, field) for name, field in Settings.model_fields.items())


def _line(name: str, field: FieldInfo) -> str:
    return f"| `TRUEUP_{name.upper()}` | {_default(field)} | {field.description} |\n"


def _default(field: FieldInfo) -> str:
    """The default as one would write it; nothing where the description says it, or where there is none."""
    default = field.default
    if default in (None, "", PydanticUndefined) or not isinstance(default, bool | int | float | str):
        return ""
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def write(page: Path = PAGE) -> None:
    """Write the page."""
    page.write_text(settings_page(), encoding="utf-8")


if __name__ == "__main__":
    write()
