"""Names of the environment that deployments of the survey know, beside `RUNATLAS_SURVEY__*`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SURVEY_NAMES = {  # names of the environment that deployments of the survey know
    "MAX_UPLOAD_SIZE": "max_upload_bytes",
    "CORS_ORIGINS": "cors_origins",
    "GRID_SIZE": "grid_size",
    "DEFAULT_EPS": "eps",
}


def survey_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    """The survey's settings under their original names, as far as they are set; origins are joined by commas."""
    given = {setting: environment[name].strip() for name, setting in SURVEY_NAMES.items() if environment.get(name)}
    values: dict[str, Any] = {setting: value for setting, value in given.items() if value}
    if "cors_origins" in values:
        values["cors_origins"] = tuple(
            one.strip().rstrip("/") for one in given["cors_origins"].split(",") if one.strip()
        )
    return {"survey": values} if values else {}


def original_name(name: str) -> str:
    """The other name in the environment of a setting of the survey, as `load_settings` says it.

    >>> original_name("survey.grid_size"), original_name("api.port")
    (' or GRID_SIZE', '')
    """
    found = [original for original, setting in SURVEY_NAMES.items() if name.startswith(f"survey.{setting}")]
    return f" or {found[0]}" if found else ""
