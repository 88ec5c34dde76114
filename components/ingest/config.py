"""What an ingest is asked for: from the command line, a file of YAML or JSON, or Python."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Self

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError, field_validator

from components.errors import BadSetting
from components.ingest.years import Years
from components.settings import DEFAULT_DATASET, CorpusSettings, reason_of

MAX_CONFIG_BYTES = 1 << 20


class IngestConfig(BaseModel):
    """One ingest. Of a dataset that was ingested before, what is left out (None) stays as it was."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, arbitrary_types_allowed=True)

    sources: tuple[str, ...] = Field((), validation_alias=AliasChoices("sources", "input_dir", "input"))
    dataset: str = DEFAULT_DATASET
    years: Years | None = None  # None: every file
    id: str | None = None  # field that names a document
    fields: tuple[str, ...] | None = Field(None, min_length=1)
    prefix: str | None = None  # before the whole text
    suffix: str | None = None  # after the whole text
    field_prefixes: dict[str, str] | None = None
    field_suffixes: dict[str, str] | None = None
    delimiter: str | None = None  # between prefix, fields and suffix
    lowercase: bool | None = None
    truncate: int | None = Field(None, ge=1)  # characters
    keep: tuple[str, ...] | None = None  # fields that are kept beside the text
    vectors: str | None = None  # field that holds a document's vector; its model is then but a name
    model: str | None = None
    batch: int | None = Field(None, ge=1)  # texts a call of the model, at most
    recompute: bool = False
    out: Path | None = None
    prep: Path | None = None

    @field_validator("sources", mode="before")
    @classmethod
    def _several(cls, given: Any) -> Any:
        return [str(one) for one in ([given] if isinstance(given, str | Path) else given)]

    @field_validator("years", mode="before")
    @classmethod
    def _parsed(cls, given: Any) -> Any:
        return given if given is None or isinstance(given, Years) else Years.parsed(given)

    @classmethod
    def of(cls, given: Mapping[str, Any], *, origin: str = "") -> Self:
        """Checked. Raises `BadSetting` that names the option, its value, and where it comes from."""
        try:
            return cls.model_validate(dict(given))
        except ValidationError as error:
            first = error.errors()[0]
            name = str(first["loc"][0]) if first["loc"] else ""
            where = f" in {origin}" if origin else ""
            if first["type"] == "extra_forbidden":
                near = get_close_matches(name, config_names(), 1)
                hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(config_names())}."
                raise BadSetting(f"Unknown option {name!r} of an ingest{where}; {hint}") from error
            reason = reason_of(first["msg"])
            raise BadSetting(
                f"Option {name!r} of the ingest{where} can't be used: {reason} (got {first.get('input')!r})."
            ) from error

    def corpus(self, before: CorpusSettings | None) -> CorpusSettings:
        """How documents are read: as before, but for what this ingest asks for."""
        names = ("id", "fields", "field_prefixes", "field_suffixes", "delimiter", "keep", "vectors")
        asked = {name: value for name in names if (value := getattr(self, name)) is not None}
        if self.model is not None and self.vectors is None:
            asked["vectors"] = ""  # a model that embeds takes the place of given vectors
        return (before or CorpusSettings()).model_copy(update=asked)


def parsed_years(given: str | None) -> Years | None:
    """Years as the command line has them. Raises `BadSetting`."""
    try:
        return Years.parsed(given) if given is not None else None
    except ValueError as error:
        raise BadSetting(f"Option --years can't be used: {error}.") from error


def config_names() -> list[str]:
    """The names of all options, as a file may have them."""
    return sorted({*IngestConfig.model_fields, "input_dir", "input"})


def read_config(path: Path) -> dict[str, Any]:
    """The options that a file of YAML or JSON holds. Raises `BadSetting`."""
    import yaml

    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise BadSetting(f"{path} is larger than {MAX_CONFIG_BYTES:,} bytes: --config takes a file of options.")
        content = yaml.safe_load(path.read_text("utf-8-sig"))
    except OSError as error:
        raise BadSetting(f"The options can't be read from {path}: {error.strerror or error}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadSetting(f"{path} is neither YAML nor JSON: {' '.join(str(error).split())}.") from error
    if content is None:
        return {}
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        raise BadSetting(
            f"{path} holds no options: write NAME: VALUE, one a line; for instance `fields: [title, abstract]`."
        )
    return content
