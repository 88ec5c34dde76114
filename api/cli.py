"""The shell: `runatlas`. Reports go to stdout, logs to stderr; exit codes are 0 done, 1 failed, 2 wrong usage."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, NoReturn, ParamSpec

import orjson
import typer

from api.home import reach_loopback_directly
from components.contracts import LoadReport, Problem
from components.errors import BadSetting, Cancelled, RunAtlasError, SourceError
from components.settings import Settings, load_settings

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


def guarded(command: Callable[P, None]) -> Callable[P, None]:
    """The command with errors turned into one line on stderr and an exit code: the shell's one door."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        _log_to_stderr()
        try:
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
    with Pipeline() as pipeline, _progress(quiet=json) as progress:
        report = pipeline.load(sources or [], dataset, format=format, verify=verify, progress=progress)
    if json:
        _print_json(asdict(report))
    else:
        _tell_load(report)
    done = report.sources.loaded + report.sources.resumed + report.sources.skipped + report.sources.not_ready
    if not done and (report.sources.failed or report.problems):
        raise typer.Exit(1)


def _tell_load(report: LoadReport) -> None:
    s, r = report.sources, report.records
    typer.echo(
        f'Dataset "{report.dataset}": {r.new} new records, {r.existing} already there, {report.defects} defects '
        f"({report.bytes / 1e6:.1f} MB in {report.seconds:.1f} s)."
    )
    typer.echo(
        f"Sources: {s.discovered} found, {s.loaded} loaded, {s.resumed} resumed, {s.skipped} unchanged, "
        f"{s.not_ready} not ready, {s.failed} failed, {s.gone} gone."
    )
    if report.redacted:
        kinds = ", ".join(f"{n} {kind}" for kind, n in report.redacted.items())
        typer.echo(f"Secrets replaced by a mark: {kinds}.")
    for line in _problem_lines(report.problems):
        typer.echo(line)
    if not s.discovered and not report.problems:
        typer.echo("No sources: name files or folders, `runatlas load ~/.claude/projects`.")
    if r.unindexed:
        typer.echo(f"{r.unindexed} records wait for `runatlas index`.")


def _problem_lines(problems: Sequence[Problem]) -> Iterator[str]:
    """A line a source; sources with one reason in common below it, so that a folder of strangers stays readable."""
    alike: dict[str, list[str]] = {}
    for problem in problems:
        reason, _, _ = problem.reason.partition("\n")  # what each format missed stands on the lines below
        alike.setdefault(reason, []).append(problem.source)
    for reason, sources in alike.items():
        if len(sources) == 1:
            yield f"  {sources[0]}: {reason}"
        else:
            yield f"  {len(sources)} sources: {reason}"
            yield from (f"    {source}" for source in sources)


def _explain(sources: list[str], dataset: str, format: str | None, *, json: bool) -> None:
    """Say of each file what it is taken for, and why the other formats decline it."""
    from components import wiring

    source = wiring.open_source(load_settings(), dataset, format=format)
    found = source.discover(sources)
    told: list[dict[str, Any]] = [{"source": p.source, "format": None, "reason": p.reason} for p in found.problems]
    for locator in found.locators:
        try:
            seen = source.explain(locator.location)
        except SourceError as error:
            told.append({"source": locator.key, "format": None, "reason": str(error).replace("\n", "\n    ")})
        else:
            told.append(
                {
                    "source": locator.key,
                    "format": seen.format.name,
                    "reason": seen.reason,
                    "declined": dict(seen.declined),
                }
            )
    if json:
        _print_json(told)
        return
    for item in told:
        typer.echo(f"{item['source']}: {item['format'] or 'not taken'}: {item['reason']}")
        for name, reason in item.get("declined", {}).items():
            typer.echo(f"    not {name}: {reason}")


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

    with Pipeline() as pipeline, _progress(quiet=json) as progress:
        pipeline.store.leases.wait_for_the_dead(lease_name(dataset))
        report = pipeline.index(dataset, recompute=recompute, retry_failed=retry_failed, progress=progress)
        output = pipeline.output(dataset)
    if json:
        _print_json(asdict(report))
        return
    if report.step == "none" and not report.records:
        typer.echo(f'Nothing waits in dataset "{dataset}": snapshot {report.snapshot} holds all {report.rows} records.')
        return
    drift = "" if report.drift is None else f", {report.drift:.0%} of the newly placed lie off the map"
    typer.echo(
        f'Dataset "{dataset}": {report.records} records ({report.embedded} texts embedded, {report.reused} known, '
        f"{report.failed} failed), {report.step} on layout {report.layout}{drift}."
    )
    typer.echo(
        f"Snapshot {report.snapshot}: {report.rows} rows in {output / 'current'} ({report.seconds.total:.1f} s)."
    )


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Callable[[str, int, int], None] | None]:
    """A bar on a terminal, nothing elsewhere."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    class Bars(Progress):
        """A bar a step; where texts are embedded, with the tokens of each second."""

        def __init__(self) -> None:
            super().__init__(*columns, console=Console(stderr=True), transient=True)
            self._ids: dict[str, Any] = {}

        def __call__(self, step: str, done: int, total: int) -> None:
            if step not in self._ids:
                self._ids[step] = self.add_task(step, total=total or None, told="")
            self.update(self._ids[step], completed=done, total=total or None)

        def tokens(self, done: int, total: int) -> None:  # noqa: ARG002
            began = self.tasks[self._ids["embed"]].elapsed if "embed" in self._ids else None
            if began and done:
                self.update(self._ids["embed"], told=f"{done / began:,.0f} tokens/s")

    columns = (
        TextColumn("{task.description:>12}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[told]}"),
    )
    with Bars() as bars:
        yield bars


# --- where things stand ----------------------------------------------------------------------------------------------


@app.command()
@guarded
def status(json: JsonOption = False) -> None:
    """Say where every dataset stands."""
    from components.pipeline import Pipeline

    with Pipeline() as pipeline:
        found = {
            name: {
                **{key: value for key, value in asdict(state).items() if key not in {"indexing", "rows"}},
                "output": str(pipeline.output(name) / "current"),
                "indexing": state.indexing.is_held,
                "sources": [_without_password(source) for source in pipeline.sources(name)],
            }
            for name, state in pipeline.status().items()
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


def _without_password(source: str) -> str:
    """The source as it may be shown."""
    if "://" not in source:
        return source
    from sqlalchemy import make_url

    return make_url(source).render_as_string(hide_password=True)


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
        typer.echo(f"{defect['source']} at {defect['offset']}: {defect['reason']}  {defect['excerpt'][:80]!r}")
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
        typer.echo(f"{failure['id']} {failure['filename']} ({failure['attempts']} tries): {failure['error']}")
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
        typer.echo(f"{key:<17} {record[key]}")
    for key, value in record["extra"].items():
        typer.echo(f"{'extra.' + key:<17} {value}")
    typer.echo(f"\n{record['text']}")


# --- output ----------------------------------------------------------------------------------------------------------


@app.command()
@guarded
def publish(dataset: DatasetOption = "default", json: JsonOption = False) -> None:
    """Finish a publication that was interrupted."""
    from components.pipeline import Pipeline

    with Pipeline() as pipeline:
        number = pipeline.publish(dataset)
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

    with Pipeline() as pipeline:
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

    from api.http import create_app

    with listening(settings.api.host, settings.api.port) as taken:
        url = f"{url_of(settings.api.host, taken.getsockname()[1])}/{page}"
        typer.echo(url)
        typer.echo("Serving it here; Ctrl-C stops.", err=True)
        open_page(url)
        uvicorn.Server(uvicorn.Config(create_app(settings), log_level="warning")).run(sockets=[taken])


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
