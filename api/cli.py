"""The shell: `runatlas`. Reports go to stdout, logs to stderr; exit codes are 0 done, 1 failed, 2 wrong usage."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, fields
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, NoReturn, ParamSpec

import orjson
import typer

from api.cli_progress import progress
from api.home import reach_loopback_directly
from components.contracts import LoadReport
from components.errors import BadSetting, Cancelled, RunAtlasError, SourceError
from components.load_report import printable, problem_lines, read_nothing
from components.private import private_umask, users_umask
from components.settings import Settings, disable_telemetry, load_settings

P = ParamSpec("P")

app = typer.Typer(
    name="runatlas",
    help="Turns the logs of LLM-agent runs into a living map.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

DatasetOption = Annotated[str, typer.Option("--dataset", "-d", help="The dataset to work on.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the report as one JSON object.")]
LimitOption = Annotated[int, typer.Option("--limit", "-n", min=1, help="At most so many.")]


def main() -> None:
    """Entry of the console script."""
    reach_loopback_directly()
    app()


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"runatlas {version('runatlas')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


def guarded(command: Callable[P, None]) -> Callable[P, None]:
    """The command with errors turned into one line on stderr and an exit code: the shell's one door."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        _log_to_stderr()
        disable_telemetry()
        try:
            with private_umask(_settings_if_usable()):
                command(*args, **kwargs)
        except BadSetting as error:
            _leave(str(error), 2)
        except (Cancelled, KeyboardInterrupt) as error:
            _leave(str(error) or "Stopped; what is done stays done.", 130)
        except RunAtlasError as error:
            _leave(str(error), 1)
        except BrokenPipeError:
            sys.stderr.close()
            raise typer.Exit(1) from None

    return run


def _settings_if_usable() -> Settings | None:
    """The settings; the command itself says what is wrong with them."""
    with suppress(BadSetting):
        return load_settings()
    return None


def _log_to_stderr() -> None:
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)


def _leave(message: str, code: int) -> NoReturn:
    typer.echo(f"runatlas: {message}", err=True)
    raise typer.Exit(code)


def _print_json(value: Any) -> None:
    sys.stdout.write(orjson.dumps(value, default=str, option=orjson.OPT_INDENT_2).decode() + "\n")


# --- load and index --------------------------------------------------------------------------------------------------


@app.command()
@guarded
def load(
    sources: Annotated[
        list[str] | None, typer.Argument(help="Files, folders, globs, database URLs; remembered for later loads.")
    ] = None,
    dataset: DatasetOption = "default",
    format: Annotated[str | None, typer.Option(help="Read as this format instead of recognising it.")] = None,
    verify: Annotated[bool, typer.Option("--verify", help="Compare whole contents, not sizes and times.")] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Load nothing; say what each file is taken for, and why.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Bring every new record of the sources into the store, once."""
    from components.pipeline import Pipeline

    if explain:
        _explain(sources or [], dataset, format, json=json)
        return
    with Pipeline() as pipeline, progress(quiet=json) as on_progress:
        report = pipeline.load(sources or [], dataset, format=format, verify=verify, progress=on_progress)
    if json:
        _print_json(asdict(report))
    else:
        _tell_load(report)
    if read_nothing(report):
        raise typer.Exit(1)


def _tell_load(report: LoadReport) -> None:
    s, r = report.sources, report.records
    typer.echo(
        f'Dataset "{report.dataset}": {r.new:,} new records, {r.existing:,} already there, {report.defects:,} defects '
        f"({report.bytes / 1e6:.1f} MB in {report.seconds:.1f} s)."
    )
    counts = {field.name.replace("_", " "): getattr(s, field.name) for field in fields(s)}
    found = counts.pop("discovered")
    counts["unchanged"] = counts.pop("skipped")
    told = "".join(f", {n:,} {name}" for name, n in counts.items() if n)
    typer.echo(f"Sources: {found:,} found{told}.")
    if r.superseded:
        typer.echo(f"{r.superseded:,} older records are superseded and leave the next snapshot.")
    if report.skipped_by_rule:
        typer.echo(_left_out_line(report.skipped_by_rule))
    if report.redacted:
        kinds = ", ".join(f"{n:,} {kind}" for kind, n in report.redacted.items())
        typer.echo(f"Secrets replaced by a mark: {kinds}.")
    for line in problem_lines(report.problems):
        typer.echo(f"  {line}")
    if any(not problem.known for problem in report.problems):
        typer.echo("  `runatlas load --explain SOURCE` says what was looked for in a source.")
    if not s.discovered and not report.problems:
        typer.echo("No sources: name files or folders, `runatlas load ~/.claude/projects`.")
    if r.unindexed:
        typer.echo(f"{r.unindexed:,} records pending. Next: `runatlas index`")


def _left_out_line(skipped: Mapping[str, int]) -> str:
    """How many items were left out, by the rules that say so."""
    from components.sources.yields import spelled

    return f"Left out by rule: {spelled(skipped)}."


def _explain(sources: list[str], dataset: str, format: str | None, *, json: bool) -> None:
    """Say of each file what it is taken for, and why the other formats decline it."""
    from components import wiring

    source = wiring.open_source(load_settings(), dataset, format=format)
    found = source.discover(sources)
    told: list[dict[str, Any]] = [{"source": p.source, "format": None, "reason": p.reason} for p in found.problems]
    for locator in found.locators:
        try:
            seen = source.explain(locator.location)
            gives = source.yields(locator)
        except SourceError as error:
            told.append({"source": locator.key, "format": None, "reason": str(error)})
        else:
            told.append(
                {
                    "source": locator.key,
                    "format": seen.format.name,
                    "reason": seen.reason,
                    "declined": dict(seen.declined),
                    "records": gives.n_records,
                    "defects": gives.n_defects,
                    "skipped_by_rule": dict(gives.skipped),
                }
            )
    if json:
        _print_json(told)
        return
    for item in told:
        reason, _, _ = item["reason"].partition("\n")
        given = f"; gives {item['records']:,} records and {item['defects']:,} defects" if "records" in item else ""
        typer.echo(f"{printable(item['source'])}: {item['format'] or 'skipped'}: {printable(reason)}{given}")
    for item in told:
        _, _, details = item["reason"].partition("\n")
        left_out = [_left_out_line(item["skipped_by_rule"])] if item.get("skipped_by_rule") else []
        declined = [f"not {name}: {reason}" for name, reason in item.get("declined", {}).items()]
        if details or left_out or declined:
            typer.echo(f"\n{printable(item['source'])}")
            for line in (*details.splitlines(), *left_out, *declined):
                typer.echo(f"    {line.strip()}")


@app.command()
@guarded
def index(
    dataset: DatasetOption = "default",
    recompute: Annotated[bool, typer.Option("--recompute", help="Make the map anew over the old one.")] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try the texts again that could not be embedded.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Embed, place and publish every record that waits."""
    from components.pipeline import Pipeline
    from components.store import lease_name

    with Pipeline() as pipeline, progress(quiet=json) as on_progress:
        pipeline.store.leases.wait_for_the_dead(lease_name(dataset))
        report = pipeline.index(dataset, recompute=recompute, retry_failed=retry_failed, progress=on_progress)
        output = pipeline.output(dataset)
    if json:
        _print_json(asdict(report))
        return
    if report.snapshot is None:
        failed = f" {report.failed} could not be embedded: `runatlas failed -d {dataset}`." if report.failed else ""
        typer.echo(f'Nothing to put on a map in dataset "{dataset}", so no snapshot is published.{failed}')
        return
    if report.step == "none" and not report.records:
        typer.echo(f'Nothing waits in dataset "{dataset}": snapshot {report.snapshot} holds all {report.rows} records.')
        return
    drift = "" if report.drift is None else f", {report.drift:.0%} of the newly placed lie off the map"
    typer.echo(
        f'Dataset "{dataset}": {report.records:,} records ({report.embedded:,} texts embedded, {report.reused:,} known, '
        f"{report.failed} failed), {report.step} on layout {report.layout}{drift}."
    )
    typer.echo(
        f"Snapshot {report.snapshot}: {report.rows:,} rows in {output / 'current'} ({report.seconds.total:.1f} s)."
    )


# --- where things stand ----------------------------------------------------------------------------------------------


@app.command()
@guarded
def status(
    dataset: Annotated[str | None, typer.Option("--dataset", "-d", help="Only this dataset.")] = None,
    json: JsonOption = False,
) -> None:
    """Show the status of every dataset, or of one."""
    from components.pipeline import Pipeline

    with Pipeline() as pipeline:
        if dataset is not None:
            pipeline.dataset_id(dataset)  # raises for an unknown one
        found = {
            name: {
                **{key: value for key, value in asdict(state).items() if key not in {"indexing", "rows"}},
                "output": str(pipeline.output(name) / "current"),
                "indexing": state.indexing.is_held,
                "sources": list(pipeline.sources(name)),
            }
            for name, state in pipeline.status().items()
            if dataset in {None, name}
        }
    if json:
        _print_json({"datasets": found})
        return
    if not found:
        typer.echo("No datasets yet: `runatlas load PATH` makes the first.")
    for name, state in found.items():
        typer.echo(f"{name}")
        for key, value in state.items():
            shown = "\n             ".join(value) if isinstance(value, list) else value
            typer.echo(f"  {key:<10} {'-' if shown is None or shown == '' else shown}")


sources_app = typer.Typer(
    no_args_is_help=False, rich_markup_mode=None, help="List the sources of a dataset, or remove one."
)
app.add_typer(sources_app, name="sources")


@sources_app.callback(invoke_without_command=True)
@guarded
def sources(context: typer.Context, dataset: DatasetOption = "default", json: JsonOption = False) -> None:
    """List what a load of the dataset looks at, and what could not be read there."""
    if context.invoked_subcommand:
        return
    from components.pipeline import Pipeline

    with Pipeline() as pipeline:
        listed = pipeline.source_list(dataset)
        problems = pipeline.store.ledger.problems(pipeline.dataset_id(dataset))
    if json:
        _print_json({"sources": [asdict(one) for one in listed], "problems": [asdict(one) for one in problems]})
        return
    for one in listed:
        typer.echo(f"{printable(one.source)}  ({one.origin})")
    if not listed:
        typer.echo("No sources. `runatlas load PATH` loads one and remembers it.")
    if problems:
        typer.echo(f"\n{len(problems):,} not read:")
        for line in problem_lines(problems):
            typer.echo(f"  {line}")


@sources_app.command("remove")
@guarded
def remove_sources(
    sources: Annotated[list[str], typer.Argument(help="Sources as `runatlas sources` lists them.")],
    dataset: DatasetOption = "default",
    with_records: Annotated[
        bool, typer.Option("--with-records", help="Take their records off the map too, with the next index.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Forget sources: later loads do not look at them. Their records stay, unless --with-records is given."""
    from components.pipeline import Pipeline

    with Pipeline() as pipeline:
        removed = pipeline.remove_sources(sources, dataset, with_records=with_records)
    if json:
        _print_json(asdict(removed))
        return
    kept = (
        f"{removed.records:,} records leave the map with the next `runatlas index`" if with_records else "records stay"
    )
    typer.echo(f"Removed {', '.join(removed.sources)}: {removed.files:,} files or tables forgotten, {kept}.")


@app.command()
@guarded
def defects(dataset: DatasetOption = "default", limit: LimitOption = 100, json: JsonOption = False) -> None:
    """List lines and items that could not become a record, and where they are."""
    from components.pipeline import Pipeline

    with Pipeline() as pipeline:
        found = pipeline.defects(dataset, limit)
    if json:
        _print_json(found)
        return
    for defect in found:
        source, reason = printable(defect["source"]), printable(defect["reason"])
        typer.echo(f"{source} at {defect['offset']}: {reason}  {defect['excerpt'][:80]!r}")
    if not found:
        typer.echo("No defects.")


@app.command()
@guarded
def failed(dataset: DatasetOption = "default", limit: LimitOption = 100, json: JsonOption = False) -> None:
    """List records whose text could not be embedded, and why."""
    from components.pipeline import Pipeline

    with Pipeline() as pipeline:
        found = pipeline.failed(dataset, limit)
    if json:
        _print_json(found)
        return
    for failure in found:
        filename, error = printable(failure["filename"]), printable(failure["error"])
        typer.echo(f"{failure['id']} {filename} ({failure['attempts']} tries): {error}")
    typer.echo("`runatlas index --retry-failed` tries them again." if found else "No failed records.")


@app.command()
@guarded
def show(id: str, dataset: DatasetOption = "default", json: JsonOption = False) -> None:
    """Show one record."""
    from components.pipeline import Pipeline

    with Pipeline() as pipeline:
        record = pipeline.record(id, dataset)
    if json:
        _print_json(record)
        return
    for key in ("id", "filename", "timestamp", "iteration", "idx_in_iteration", "type"):
        typer.echo(f"{key:<17} {printable(str(record[key]))}")
    for key, value in record["extra"].items():
        typer.echo(f"{printable('extra.' + key):<17} {printable(str(value))}")
    typer.echo(f"\n{record['text']}")


# --- output ----------------------------------------------------------------------------------------------------------


@app.command()
@guarded
def publish(
    dataset: DatasetOption = "default",
    adopt: Annotated[
        bool, typer.Option("--adopt", help="Take the output over from another home on the same database.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Finish a publication that was interrupted."""
    from components.pipeline import Pipeline

    with Pipeline() as pipeline:
        number = pipeline.publish(dataset, adopt=adopt)
    if json:
        _print_json({"dataset": dataset, "snapshot": number})
    else:
        typer.echo("Nothing is published yet." if number is None else f"Snapshot {number} is published.")


@app.command()
@guarded
def export(
    to: Annotated[Path, typer.Option("--to", help="Folder for logs.parquet and embeddings.parquet.")],
    dataset: DatasetOption = "default",
    json: JsonOption = False,
) -> None:
    """Write the newest snapshot as two plain files."""
    from components.pipeline import Pipeline

    with Pipeline() as pipeline, users_umask():
        files = [str(path) for path in pipeline.export(to, dataset)]
    if json:
        _print_json({"dataset": dataset, "files": files})
    else:
        typer.echo("\n".join(files))


@app.command()
@guarded
def verify(dataset: DatasetOption = "default", json: JsonOption = False) -> None:
    """Check every invariant of the store and the newest snapshot."""
    from components.pipeline import Pipeline

    with Pipeline() as pipeline:
        checks = pipeline.verify(dataset)
    is_ok = all(check.ok for check in checks)
    if json:
        _print_json({"ok": is_ok, "checks": [asdict(check) for check in checks]})
    else:
        for check in checks:
            typer.echo(f"{'ok   ' if check.ok else 'WRONG'} {check.name}{': ' + check.detail if check.detail else ''}")
    if not is_ok:
        raise typer.Exit(1)


# --- the product -----------------------------------------------------------------------------------------------------


@app.command()
@guarded
def up(
    demo: Annotated[bool, typer.Option("--demo", help="Load and index the sample logs, and open their map.")] = False,
    open_browser: Annotated[
        bool | None, typer.Option("--open/--no-open", help="Open the map in the browser when ready; --demo does.")
    ] = None,
) -> None:
    """Bring up the whole product: Prefect server and worker, triggers, HTTP API, map."""
    from api.up import run_up

    raise typer.Exit(run_up(load_settings(), demo=demo, open_browser=demo if open_browser is None else open_browser))


@app.command()
@guarded
def view(
    dataset: DatasetOption = "default",
    light: Annotated[bool, typer.Option("--light", help="The light page instead of Embedding Atlas.")] = False,
) -> None:
    """Open the map in the browser; serves it until Ctrl-C if nothing serves it yet."""
    from api.browser import open_page
    from api.home import listening, url_of
    from components.pipeline import Pipeline

    settings = load_settings()
    with Pipeline(settings) as pipeline:
        pipeline.snapshot(dataset)  # says so if there is none
    page = f"map/{dataset}" if light else f"atlas/{dataset}/"
    served = _serving(settings, dataset)
    if served is not None:
        typer.echo(f"{served}/{page}")
        open_page(f"{served}/{page}")
        return
    import uvicorn

    from api.serving import server_config

    with listening(settings.api.host, settings.api.port) as taken:
        url = f"{url_of(settings.api.host, taken.getsockname()[1])}/{page}"
        typer.echo(url)
        typer.echo("Serving it here; Ctrl-C stops.", err=True)
        open_page(url)
        uvicorn.Server(server_config(settings, log_level="warning")).run(sockets=[taken])


def _serving(settings: Settings, dataset: str) -> str | None:
    """The address of the API that shows this dataset already: that of `up` on this home, or one where ours would be."""
    import httpx

    from api.home import running, url_of
    from components.http_client import open_client

    if told := running(settings.home):
        return str(told["api"])
    url = url_of(settings.api.host, settings.api.port)
    try:
        with open_client(url, timeout_s=2) as client:
            known = client.get(f"{url}/health").json()["datasets"]
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        return None
    return url if dataset in known else None


@app.command()
@guarded
def watch() -> None:
    """Load whenever a watched folder or database changes, until Ctrl-C."""
    import signal
    from threading import Event

    from components.pipeline import Pipeline
    from flows.runs import watched_sources
    from flows.watch import watch as watch_sources

    settings = load_settings()
    logging.getLogger("flows").setLevel(logging.INFO)
    signal.signal(signal.SIGTERM, signal.default_int_handler)

    def on_change(dataset: str) -> None:
        with Pipeline(settings) as pipeline:
            _tell_load(pipeline.load(dataset=dataset))

    with Pipeline(settings) as pipeline:
        known = watched_sources(settings, pipeline.store)
        due = [dataset for dataset, sources in known.items() if sources]
        told = ", ".join(due) or "no sources yet; `runatlas load PATH` names some"
        typer.echo(f"Watching {told}. Ctrl-C stops.", err=True)
        for dataset in due:  # what changed while nobody watched
            on_change(dataset)
        watch_sources(settings, on_change, Event(), sources=lambda: watched_sources(settings, pipeline.store))


@app.command()
@guarded
def doctor(json: JsonOption = False) -> None:
    """Say what is wrong with this installation, and how to mend it."""
    from api.doctor import examine

    findings = examine()
    if json:
        _print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            typer.echo(f"{'ok   ' if finding.ok else 'WRONG'} {finding.name}: {finding.detail}")
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


if __name__ == "__main__":
    main()
