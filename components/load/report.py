"""The problems of a load as people read them, the same wherever they are shown: grouped, each reported once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from components.contracts import LoadReport, Problem

names_shown = 5  # sources listed below a reason that several share


def read_nothing(report: LoadReport) -> bool:
    """Were there sources, and could not one of them be read? The one rule for a load that counts as failed."""
    s = report.sources
    return s.failed > 0 and not s.loaded + s.resumed + s.skipped + s.not_ready


def printable(text: str) -> str:
    r"""The text with control characters spelled out: a file's name must not steer a terminal or forge a line.

    >>> printable("a\x1b]0;b\x07\nc")
    'a\\x1b]0;b\\x07\\nc'
    """
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def summary(problem: Problem) -> str:
    """The first line of the reason; what each format missed is on the lines below, for `--explain`."""
    return printable(problem.reason.partition("\n")[0])


def problem_lines(problems: Sequence[Problem]) -> Iterator[str]:
    """One line for each new problem, one for all sources that share a reason, one for all that an earlier load reported.

    >>> list(problem_lines([Problem(source="a.bin", reason="Unsupported binary file.")]))
    ['a.bin: Unsupported binary file.']
    """
    by_reason: dict[str, list[str]] = {}
    for problem in problems:
        if not problem.known:
            by_reason.setdefault(summary(problem), []).append(printable(problem.source))
    for reason, sources in by_reason.items():
        if len(sources) == 1:
            yield f"{sources[0]}: {reason}"
        else:
            more = f" and {len(sources) - names_shown:,} more" if len(sources) > names_shown else ""
            yield f"{len(sources):,} sources ({', '.join(sources[:names_shown])}{more}): {reason}"
    if n := sum(problem.known for problem in problems):
        yield (
            f"{n:,} more {'has' if n == 1 else 'have'} not changed since an earlier load reported them; "
            "`runatlas sources` lists them."
        )
