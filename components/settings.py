"""Settings: defaults, then `runatlas.toml`, then `RUNATLAS_*` from the environment (nested names joined by `__`).

`RUNATLAS_CONFIG` names another file than the `runatlas.toml` of the current folder; empty, it means none at all.

This is the only module that reads the environment. Everything has a default: with no settings at all, runatlas works
offline on one machine. Entry points call `load_settings()` once and pass the value, or a section of it, on.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from components.errors import BadSetting
from components.original_names import original_name, survey_environment

SECRET_SETTINGS = frozenset({"api_token", "database_url", "api_keys", "sources"})  # never in a message
DEFAULT_DATASET = "default"
MAX_NAME_BYTES = 200  # of a dataset, whose folder and files may be named with 255 bytes
OUTPUT_COLUMNS = frozenset(
    [
        "id",
        "timestamp",
        "filename",
        "text",
        "iteration",
        "idx_in_iteration",
        "type",
        "projection_x",
        "projection_y",
        "vector",
        "topic",
        "topic_label",
    ]
)


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TextSettings(Section):
    """How a record becomes the prepared text that is embedded."""

    fields: tuple[str, ...] = ("text",)  # record fields or keys of `extra`, in order; missing ones are left out
    prefix: str = ""  # before the whole text
    suffix: str = ""  # after the whole text
    field_prefixes: dict[str, str] = {}  # field -> text before its value
    field_suffixes: dict[str, str] = {}  # field -> text after its value
    delimiter: str = "\n"  # between fields
    lowercase: bool = False
    truncate: int | None = Field(None, ge=1)  # characters


class CorpusSettings(Section):
    """Which fields of a corpus's documents are wanted, and which one names the document."""

    id: str = ""  # the field that names a document; empty: the first of bibcode and id that it has
    fields: tuple[str, ...] = Field(("title", "abstract"), min_length=1)  # whose texts are joined, in this order
    field_prefixes: dict[str, str] = {}  # field -> text before its value
    field_suffixes: dict[str, str] = {}  # field -> text after its value
    delimiter: str = "\n\n"  # between fields
    keep: tuple[str, ...] = ()  # fields that are kept in the record's `extra`
    vectors: str = ""  # the field that holds a document's vector; empty: texts are embedded
    folders: tuple[str, ...] = ()  # of earlier ingests: a later one may take further files from them

    def spelled(self) -> str:
        """All that decides what is read of a document, as JSON."""
        return self.model_dump_json(exclude={"folders", "vectors"})

    @property
    def id_names(self) -> tuple[str, ...]:
        """The fields that may name a document, the first that is there counts."""
        return (self.id,) if self.id else ("bibcode", "id")


class LoadSettings(Section):
    quiet_s: float = Field(
        2.0, ge=0
    )  # a document without end mark is taken after this long unchanged, seconds; 0: at once
    batch_records: int = Field(5_000, ge=1)  # records a transaction
    batch_bytes: int = Field(32 << 20, ge=1)  # source bytes a transaction, at most
    max_item_bytes: int = Field(64 << 20, ge=1)  # a larger line, document or archive member, unpacked, is a defect
    max_text_chars: int = Field(1_000_000, ge=1)  # longer texts are cut, with a mark
    poll_s: int = Field(300, ge=10)  # interval of the polling schedule that `runatlas up` registers, seconds

    @model_validator(mode="before")
    @classmethod
    def _has_no_former_name(cls, given: Any) -> Any:
        for former in ("max_line_bytes", "max_document_bytes"):
            if isinstance(given, dict) and former in given:
                raise ValueError(
                    f"load.{former} is now load.max_item_bytes, one limit for lines and documents: rename it"
                )
        return given


class EmbedSettings(Section):
    runner: Literal["threads", "dask", "ray"] = (
        "threads"  # what runs of Prefect embed and place on: this process, or a cluster
    )
    cluster: str = ""  # address of the cluster's scheduler, for instance tcp://host:8786; empty: one on this machine
    workers: int = Field(2, ge=1)  # processes of a cluster on this machine
    batch_tokens: int = Field(1_024, ge=1)  # tokens a call of the model, CPU
    batch_texts: int = Field(0, ge=0)  # texts a call or request, at most; 0: as many as fit
    threads: int = Field(0, ge=0)  # 0: one a core
    long_text: Literal["truncate", "mean"] = "truncate"  # texts beyond the model's window
    retries: int = Field(4, ge=0)  # further tries of a task on transient errors
    backoff_s: float = Field(1.0, gt=0)  # first wait; doubles, with jitter
    timeout_s: float = Field(60.0, gt=0)  # one request to an embedding service
    connections: int = Field(8, ge=1)  # parallel requests to an embedding service
    api_keys: tuple[str, ...] = Field((), repr=False)  # for the service, in turn

    @model_validator(mode="before")
    @classmethod
    def _has_no_removed_name(cls, given: Any) -> Any:
        if isinstance(given, dict) and "task_texts" in given:
            raise ValueError("embed.task_texts had no effect and no longer exists: remove it")
        return given


class ProjectSettings(Section):
    neighbors: int = Field(15, ge=2)
    min_dist: float = Field(0.1, ge=0, lt=1)
    seed: int = 42
    landmarks: int = Field(100_000, ge=100)  # at most so many distinct vectors are fitted; the rest is placed
    young: int = Field(10_000, ge=0)  # a map fitted on fewer refits itself when its data has doubled
    drift_warn: float = Field(0.25, gt=0, le=1)  # share of newly placed records off the map that is worth telling


class TopicSettings(Section):
    model: str = (
        ""  # names topics: openai://MODEL?base_url=… or gemini://MODEL; empty: names are phrases of the records
    )
    api_key: str | None = Field(None, repr=False)  # None: OPENAI_API_KEY or GEMINI_API_KEY of the environment
    timeout_s: float = Field(30.0, gt=0)  # one request
    connections: int = Field(4, ge=1)  # parallel requests

    def key_of(self, service: str) -> str | None:
        """The key for a service, from the settings or by the name that its own tools know."""
        return self.api_key or os.environ.get(f"{service.upper()}_API_KEY") or None


class PublishSettings(Section):
    keep_snapshots: int = Field(3, ge=1)
    keep_s: float = Field(3_600.0, ge=0)  # old snapshots stay at least so long, seconds
    part_rows: int = Field(250_000, ge=1)  # rows a part, at most


class PrivacySettings(Section):
    redact: bool = True  # secrets of known shapes are replaced by a mark before anything is stored


class TraceSettings(Section):
    """Of `components.traces.EmbeddingService`."""

    embedding_model: str = "all-MiniLM-L6-v2"  # URI
    embedding_dimension: int = Field(384, ge=1, le=65_536)  # what that model gives
    cache_size: int = Field(1_000, ge=100, le=10_000)  # vectors
    timeout_s: float = Field(10.0, gt=0)  # one call of the model, its loading included; then the fallback is given


class ReceiveSettings(Section):
    """Of `POST /v1/traces` and `POST /datasets/{dataset}/records`."""

    max_body_bytes: int = Field(16 << 20, ge=1_024)  # of a request, as it is sent
    max_unpacked_bytes: int = Field(64 << 20, ge=1_024)  # of a request, unpacked
    max_held_bytes: int = Field(128 << 20, ge=1_024)  # of all requests in progress, packed and unpacked; others get 429

    @model_validator(mode="after")
    def _holds_the_largest(self) -> ReceiveSettings:
        if self.max_held_bytes < self.max_body_bytes + self.max_unpacked_bytes:
            raise ValueError(
                "receive.max_held_bytes is less than receive.max_body_bytes and receive.max_unpacked_bytes together, so the "
                "largest request could never be taken: raise it, or lower them"
            )
        return self


class LeaseSettings(Section):
    ttl_s: float = Field(60.0, gt=0)  # an index that is silent for so long has lost its lease


class ApiSettings(Section):
    host: str = "127.0.0.1"
    port: int = Field(8_000, ge=0, le=65_535)
    allowed_hosts: tuple[str, ...] = ()  # host names of a proxy or tunnel in front; `*.NAME` for all names below one
    public_url: str | None = None  # under which a proxy serves it, with the path if there is one; its host is allowed
    max_body_bytes: int = Field(1 << 20, ge=1_024)  # of a request

    @field_validator("public_url")
    @classmethod
    def _is_an_address(cls, url: str | None) -> str | None:
        if not url:
            return None
        try:
            parts = urlsplit(url)
            is_usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
        except ValueError:
            is_usable = False
        if (
            not is_usable
            or parts.query
            or parts.fragment
            or parts.username
            or not url.isprintable()
            or "//" in parts.path
        ):
            raise ValueError("write it as https://logs.example.com or https://example.com/logs, without query or login")
        return url.rstrip("/")

    @property
    def hosts(self) -> tuple[str, ...]:
        """The host names that requests may name, of `allowed_hosts` and `public_url`."""
        public = urlsplit(self.public_url or "").hostname
        return (*self.allowed_hosts, public) if public else self.allowed_hosts

    @property
    def public_path(self) -> str:
        """The path of `public_url`, without a slash at its end; "" for the root."""
        return unquote(urlsplit(self.public_url or "").path)

    @property
    def address(self) -> str:
        """Where a browser on this machine reaches it."""
        host = {"0.0.0.0": "127.0.0.1", "::": "127.0.0.1"}.get(self.host, self.host)  # noqa: S104
        return f"http://{host}:{self.port}"


class PrefectSettings(Section):
    host: str = "127.0.0.1"
    port: int = Field(4_200, ge=0, le=65_535)
    api_url: str | None = None  # an existing server; None: the one that `runatlas up` starts
    allowed_hosts: tuple[str, ...] = ()  # names under which a proxy or tunnel reaches a server on loopback


class SurveySettings(Section):
    """Uploaded tables. The original names MAX_UPLOAD_SIZE, CORS_ORIGINS, GRID_SIZE and DEFAULT_EPS set them too."""

    max_upload_bytes: int = Field(52_428_800, ge=1_024)  # of an uploaded file
    uploads_per_minute: int = Field(5, ge=1)  # of one address
    grid_size: int = Field(100, ge=16, le=1_000)  # cells along each side of a terrain
    eps: float | None = Field(
        None, gt=0
    )  # radius of clusters in the 5-D space of topics; None: estimated for each table
    min_samples: int = Field(5, ge=2, le=1_000)  # rows within that radius that make a cluster
    max_datasets: int = Field(10, ge=1)  # uploads that are kept; the least recently used ones are deleted
    ttl_h: float = Field(24.0, gt=0)  # an upload is deleted after so many hours
    cors_origins: tuple[str, ...] = ()  # origins whose pages may call /api/*, "http://localhost:3000"

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            parts = urlsplit(origin)
            if parts.scheme not in {"http", "https"} or f"{parts.scheme}://{parts.netloc}" != origin:
                raise ValueError(f"{origin!r} is no origin: write it as http://localhost:3000, without a path")
        return origins


class WatchSettings(Section):
    enabled: bool = True  # `runatlas up` watches the datasets' folders
    debounce_s: float = Field(2.0, gt=0)  # quiet time after the last change before a load


class DatasetSettings(Section):
    sources: tuple[str, ...] = ()  # files, folders, globs, database URLs; more are remembered when given to `load`
    model: str | None = None  # None: the default model
    format: str | None = None  # None: recognised by content
    text: TextSettings = TextSettings()
    timezone: str = "UTC"  # of naive times in its logs
    on_rewrite: Literal["keep", "replace"] = "keep"  # what to do with records that a rewritten source holds no more
    history: Literal["new", "all"] = "new"  # sources that repeat the run's history in every item
    corpus: CorpusSettings | None = None  # its sources are files of documents with keys; `runatlas ingest` sets it
    columns: dict[str, str] = {}  # generic JSONL, CSV, Parquet, tables: record field -> column of the source
    extras: tuple[str, ...] = ()  # keys of `extra` that become columns of the output
    task: str = Field("task", min_length=1, pattern=r'^[^"]+$')  # key of `extra` that names the task of a run
    index_threshold: int = Field(500, ge=1)  # so many unindexed records start an index
    redact: bool | None = None  # None: as `privacy.redact` says
    pinned: bool = False  # an uploaded dataset that stays until it is dropped

    @field_validator("extras")
    @classmethod
    def _is_no_column_of_ours(cls, extras: tuple[str, ...]) -> tuple[str, ...]:
        for key in (spec.partition(":")[0] for spec in extras):
            if not key:
                raise ValueError("an extra needs a key: write it as KEY or KEY:TYPE")
            if key in OUTPUT_COLUMNS or key.startswith("__"):
                raise ValueError(
                    f"the output has a column {key!r} of its own: leave it out of extras, "
                    "or have the logs name it otherwise"
                )
        return extras


def _user_cache() -> Path:
    """Where this system keeps what programs can make again."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "runatlas"


def _settings_file() -> Path | None:
    """The file to read, which may be absent unless RUNATLAS_CONFIG names it: then raises `BadSetting`."""
    named = os.environ.get("RUNATLAS_CONFIG")
    if named is None:
        return Path("runatlas.toml")
    if named and not Path(named).is_file():
        raise BadSetting(f"RUNATLAS_CONFIG names {named}, which is no file: correct it, or unset it.")
    return Path(named) if named else None


class Settings(BaseSettings):
    """All settings, frozen. `home` holds `runatlas.db`, `output/`, `cache/` and logs."""

    model_config = SettingsConfigDict(env_prefix="RUNATLAS_", env_nested_delimiter="__", frozen=True, extra="forbid")

    home: Path = Path("data")
    shared_cache: Path = Field(default_factory=_user_cache)  # model graphs and compiled kernels, for all homes
    database_url: str | None = Field(None, repr=False)  # None: SQLite in `home`
    model: str = "all-MiniLM-L6-v2"
    api_token: str | None = Field(None, repr=False)
    log_format: Literal["text", "json"] = "text"  # of lines on stderr; json: one object a line
    private_files: bool = True  # home, database, output and logs are for this user alone; false: as the umask says
    load: LoadSettings = LoadSettings()
    embed: EmbedSettings = EmbedSettings()
    project: ProjectSettings = ProjectSettings()
    topics: TopicSettings = TopicSettings()
    publish: PublishSettings = PublishSettings()
    privacy: PrivacySettings = PrivacySettings()
    traces: TraceSettings = TraceSettings()
    receive: ReceiveSettings = ReceiveSettings()
    lease: LeaseSettings = LeaseSettings()
    api: ApiSettings = ApiSettings()
    prefect: PrefectSettings = PrefectSettings()
    watch: WatchSettings = WatchSettings()
    survey: SurveySettings = SurveySettings()
    datasets: dict[str, DatasetSettings] = {}

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic calls it so
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        toml = TomlConfigSettingsSource(settings_cls, toml_file=_settings_file())
        named = InitSettingsSource(settings_cls, init_kwargs=survey_environment(os.environ))
        return (init_settings, env_settings, named, toml)

    def dataset(self, name: str) -> DatasetSettings:
        """The settings of one dataset; defaults for one that no file names. Raises `BadSetting` on an unusable name."""
        is_long = len(name) > 100 or len(name.encode("utf-8", "replace")) > MAX_NAME_BYTES
        if not name or is_long or not all(c.isalnum() or c in "-_." for c in name) or name.startswith("."):
            raise BadSetting(
                f"Dataset name {name!r} can't be used: letters, digits, '-', '_' and '.', not starting with '.', "
                f"at most 100 characters and {MAX_NAME_BYTES} bytes."
            )
        return self.datasets.get(name, DatasetSettings())

    def model_of(self, dataset: str) -> str:
        """The model URI of a dataset."""
        return self.dataset(dataset).model or self.model

    def redacts(self, dataset: str) -> bool:
        """Are secrets taken out of what is loaded into this dataset?"""
        own = self.dataset(dataset).redact
        return self.privacy.redact if own is None else own

    @property
    def database(self) -> str:
        """The SQLAlchemy URL of the state."""
        return self.database_url or f"sqlite:///{self.home.absolute() / 'runatlas.db'}"

    @property
    def output(self) -> Path:
        """The folder of all published datasets."""
        return self.home.absolute() / "output"

    @property
    def uploads(self) -> Path:
        """The folder of uploaded tables; runs on other machines need it too."""
        return self.home.absolute() / "uploads"

    @property
    def cache(self) -> Path:
        """What can be made again from the database: memory-mapped layouts, data of the pages."""
        return self.home.absolute() / "cache"


def disable_telemetry() -> None:
    """Keep libraries from reporting their use to their makers, in this process and those that it starts.

    Call it before they are imported: onnxruntime reads its variable when it is initialised (its function
    `disable_telemetry_events` comes too late and stops only a part), Prefect when it is imported. A variable that is set
    already stays as it is.
    """
    for name in ("ORT_DISABLE_TELEMETRY", "DO_NOT_TRACK"):
        os.environ.setdefault(name, "1")


def reason_of(message: str) -> str:
    """Why a value is refused, without the class of the error that pydantic puts before the text of a validator.

    >>> reason_of("Value error, an extra needs a key"), reason_of("Input should be 'text' or 'json'")
    ('an extra needs a key', "Input should be 'text' or 'json'")
    """
    return message.removeprefix("Value error, ")


def load_settings(**overrides: object) -> Settings:
    """Settings as they stand now. Raises `BadSetting` naming the setting, its value and where it came from."""
    _refuse_misspelt(os.environ)
    try:
        return Settings(**overrides)  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise BadSetting(_unknown_setting(name)) from error
        got = "a value that is not shown" if SECRET_SETTINGS & set(first["loc"]) else repr(first.get("input"))
        raise BadSetting(
            f"Setting {name!r} can't be used: {reason_of(first['msg'])} (got {got}). "
            f"It comes from {_told_file()} or from RUNATLAS_{name.upper().replace('.', '__')}{original_name(name)}."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise BadSetting(f"The settings can't be read from {_told_file()}: {error}.") from error
    except SettingsError as error:
        detail = f"{error}".removesuffix(' from source "EnvSettingsSource"')
        raise BadSetting(
            f"RUNATLAS_*: {detail}: tables and lists are JSON there, "
            """for example RUNATLAS_DATASETS='{"default": {"sources": ["/logs"]}}'."""
        ) from error


def _unknown_setting(name: str) -> str:
    """What to say of a setting that does not exist: `project.neigbors`, `datasets.NAME.colums`."""
    *above, last = name.split(".")
    section: type[BaseModel] = Settings
    if above[:1] == ["datasets"]:
        section, above = DatasetSettings, above[2:]
    for part in above:
        default = section.model_fields[part].default
        section = type(default) if isinstance(default, BaseModel) else section
    near = get_close_matches(last, section.model_fields, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(sorted(section.model_fields))}."
    return f"Unknown setting {name!r}; {hint} It comes from {_told_file()} or from the environment."


def _told_file() -> str:
    return os.environ.get("RUNATLAS_CONFIG") or f"runatlas.toml in {Path.cwd()}"


def _refuse_misspelt(environment: Mapping[str, str]) -> None:
    """Raises `BadSetting` for a `RUNATLAS_*` name that nearly is a setting's. Any other unknown name is none of ours:
    Kubernetes sets some of its own for a service called runatlas.
    """
    fields = Settings.model_fields
    sections = {
        name: type(field.default).model_fields for name, field in fields.items() if isinstance(field.default, Section)
    }
    nested = [f"{section}__{name}" for section, names in sections.items() for name in names]
    known = [f"RUNATLAS_{name.upper()}" for name in (*fields, *nested, "config", "root")]
    prefixes = tuple(f"RUNATLAS_{name.upper()}__" for name in fields)
    for name in sorted(map(str.upper, environment)):
        if not name.startswith("RUNATLAS_") or name in known or name.startswith(prefixes):
            continue
        if near := get_close_matches(name, known, 1, cutoff=0.85):
            raise BadSetting(f"{name} is no setting, but {near[0]} is: rename it in the environment, or unset it.")
