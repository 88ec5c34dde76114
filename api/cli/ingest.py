"""The commands `ingest` and `ingest merge`: a corpus of documents, and the files of its vectors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from api.cli.command import JsonOption, emit, guarded, open_pipeline
from api.cli.progress import progress
from api.cli.report import index_lines, load_lines
from components.errors import BadSetting
from components.ingest.config import IngestConfig, parsed_years, read_config
from components.ingest.merge import Merged
from components.ingest.merge import merge as merge_years
from components.load.report import printable, read_nothing

if TYPE_CHECKING:
    from components.corpus import IngestReport
    from components.ingest.given_vectors import TakenVectors

RUN = "run"  # what `ingest` does where no subcommand is named
SEVERAL = frozenset({"--fields", "--keep"})  # options that take several values in a row


class IngestGroup(TyperGroup):
    """`ingest SOURCE…` beside `ingest merge`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Inserts the name of the command that is meant."""
        is_named = bool(args) and args[0] in self.commands
        rest = spread(args[1:] if is_named else args)
        return super().parse_args(ctx, [args[0] if is_named else RUN, *rest])

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The name that was inserted is not shown: usage reads `runatlas ingest [OPTIONS]`."""
        name, command, rest = super().resolve_command(ctx, args)
        return "" if name == RUN else name, command, rest


def spread(args: Sequence[str]) -> list[str]:
    """Several values behind one option as the same option several times, which is what the parser knows.

    >>> spread(["--fields", "title", "abstract", "--batch", "512"])
    ['--fields', 'title', '--fields', 'abstract', '--batch', '512']
    """
    found: list[str] = []
    option = ""
    for arg in args:
        if option and not arg.startswith("-"):
            found += [arg] if found[-1:] == [option] else [option, arg]
            continue
        option = arg if arg in SEVERAL else ""
        found.append(arg)
    return found


def ingest(
    sources: Annotated[
        list[str] | None, typer.Argument(metavar="[SOURCE]...", help="Files, folders or globs of documents.")
    ] = None,
    input: Annotated[list[str] | None, typer.Option("--input", help="As SOURCE.")] = None,
    years: Annotated[
        str | None, typer.Option(help="Only the files of these years, {YYYY}.json(l)(.gz): 2015:2020 or 2021,2023.")
    ] = None,
    fields: Annotated[
        list[str] | None, typer.Option(help="Fields that are embedded, in this order (title abstract).")
    ] = None,
    prefix: Annotated[str | None, typer.Option(help="Text before every document.")] = None,
    suffix: Annotated[str | None, typer.Option(help="Text after every document.")] = None,
    field_prefix: Annotated[
        list[str] | None, typer.Option(metavar="FIELD=TEXT", help="Text before the value of a field.")
    ] = None,
    field_suffix: Annotated[
        list[str] | None, typer.Option(metavar="FIELD=TEXT", help="Text after the value of a field.")
    ] = None,
    delimiter: Annotated[
        str | None, typer.Option(help="Text between prefix, fields and suffix (a blank line).")
    ] = None,
    lowercase: Annotated[bool | None, typer.Option("--lowercase/--no-lowercase", help="Embed in lower case.")] = None,
    truncate: Annotated[int | None, typer.Option(min=1, help="Cut texts after so many characters.")] = None,
    id: Annotated[str | None, typer.Option("--id", help="Field that names a document (bibcode, else id).")] = None,
    keep: Annotated[list[str] | None, typer.Option(help="Fields that are kept beside the text.")] = None,
    vectors: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="Field that holds a document's vector: nothing is embedded, --model names the vectors.",
        ),
    ] = None,
    model: Annotated[str | None, typer.Option(help="URI of the model, for instance hf://NAME.")] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Texts a call of the model, at most.")] = None,
    config: Annotated[Path | None, typer.Option(help="YAML or JSON file with these options.")] = None,
    prep: Annotated[
        Path | None, typer.Option(help="Write the prepared texts to this Parquet file; embed nothing.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write vectors, keys, manifests and a catalog to this folder, a set a year.")
    ] = None,
    dataset: Annotated[str | None, typer.Option("--dataset", "-d", help="Name of the dataset (default).")] = None,
    recompute: Annotated[bool, typer.Option("--recompute", help="Rebuild the map with another model or text.")] = False,
    json: JsonOption = False,
) -> None:
    """Load and index a corpus of documents with keys, such as papers by year. Run it again to resume or to add years.

    `ingest merge` joins the vector files of several years.
    """
    given: dict[str, Any] = {
        "sources": [*(sources or ()), *(input or ())] or None,
        "years": years,
        "fields": _listed(fields),
        "prefix": prefix,
        "suffix": suffix,
        "field_prefixes": _by_field(field_prefix, "--field-prefix"),
        "field_suffixes": _by_field(field_suffix, "--field-suffix"),
        "delimiter": delimiter,
        "lowercase": lowercase,
        "truncate": truncate,
        "id": id,
        "keep": _listed(keep),
        "vectors": vectors,
        "model": model,
        "batch": batch,
        "prep": prep,
        "out": out,
        "dataset": dataset,
        "recompute": recompute or None,
    }
    given = {name: value for name, value in given.items() if value is not None}
    asked = IngestConfig.of(_merged(read_config(config) if config else {}, given), origin=str(config or ""))
    with open_pipeline() as pipeline, progress(quiet=json) as on_progress:
        report = pipeline.ingest(asked, progress=on_progress)
        output = pipeline.output(asked.dataset)
    emit(asdict(report), ingest_lines(report, output, asked.out, asked.prep), json=json)
    if report.load is not None and read_nothing(report.load):
        raise typer.Exit(1)


def merge(
    out: Annotated[Path, typer.Option(help="Folder with the files of several years.")],
    years: Annotated[str | None, typer.Option(help="Only these years: 2015:2020 or 2021,2023.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the joined files, instead of FIRST-LAST year.")] = None,
    json: JsonOption = False,
) -> None:
    """Join the vector files of several years to one set; the files of the single years stay."""
    merged = merge_years(out.expanduser().absolute(), parsed_years(years), name)
    emit(asdict(merged), merge_lines(merged), json=json)


ingest_app = typer.Typer(cls=IngestGroup, rich_markup_mode=None, help=ingest.__doc__)
ingest_app.command(RUN, hidden=True)(guarded(ingest))
ingest_app.command("merge")(guarded(merge))


def _listed(given: Sequence[str] | None) -> list[str] | None:
    """Names, also those joined by commas. Raises `BadSetting` for what looks like a path."""
    names = [name.strip() for one in given or () for name in one.split(",")]
    for name in names:
        if "/" in name or not name:
            raise BadSetting(f"{name!r} is no name of a field: name sources before --fields, or with --input.")
    return names or None


def _by_field(given: Sequence[str] | None, option: str) -> dict[str, str] | None:
    found: dict[str, str] = {}
    for one in given or ():
        field, is_assigned, text = one.partition("=")
        if not is_assigned or not field:
            raise BadSetting(f"{option} {one!r} names no field: write {option} 'title=Title: '.")
        found[field] = text
    return found or None


def _merged(file: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The options of the file, and those of the command line over them."""
    named = {"sources" if name in {"input", "input_dir"} else name: value for name, value in file.items()}
    return named | dict(given)


def ingest_lines(report: IngestReport, output: Path, out: Path | None, prep: Path | None) -> Iterator[str]:
    """What an ingest did, for people."""
    if report.missing_years:
        yield f"No file for {_shortened([str(year) for year in report.missing_years])}."
    if report.left_out:
        yield f"Left out, as they are named after no year: {_shortened(report.left_out)}."
    if report.prepared is not None:
        yield f"{report.prepared:,} prepared texts in {prep}."
    if report.load is not None:
        yield from load_lines(report.load, next_step=False)
    if report.vectors is not None:
        yield from _taken_lines(report.vectors)
    if report.index is not None:
        yield from index_lines(report.index, output)
    if report.out:
        rows, written = sum(one.rows for one in report.out), [one.year for one in report.out if one.is_written]
        done = f"written: {_shortened(written)}" if written else "all up to date"
        yield f"{rows:,} vectors of {len(report.out)} years in {out}; {done}."


def _taken_lines(taken: TakenVectors) -> Iterator[str]:
    yield f"{taken.documents:,} documents brought their vectors."
    if taken.overruled:
        yield (
            f"{taken.overruled:,} of them have the text of an earlier one and another vector, {taken.example!r} for instance: equal "
            "texts share the first vector. Add a field that tells the documents apart (--fields), or give changed vectors "
            "another name (--model NAME --recompute)."
        )


def merge_lines(merged: Merged) -> Iterator[str]:
    """The joined files, for people."""
    yield f"{merged.rows:,} vectors of {len(merged.years)} years, {merged.dim} dimensions:"
    yield from (f"  {path}" for path in (merged.vectors, merged.keys, merged.manifest))


def _shortened(names: Sequence[str], most: int = 8) -> str:
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(map(printable, names[:most])) + more
