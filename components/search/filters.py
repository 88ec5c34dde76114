"""Which records a search or a comparison considers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta

from components.errors import BadSetting

KNOWN_EXTRAS = ("tool", "model", "project", "outcome")  # extra fields with filters of their own in HTTP
MAX_INT = 2**31 - 1
AGO = re.compile(r"(\d{1,5})([hdw])")  # 24h, 7d, 2w


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """All must hold; several values of one filter are alternatives. `filename` is a glob, `run` a whole filename.

    `topic` are ids of topics or of groups of them, -1 for none. `since` is included, `until` is not; times without a zone are UTC. `new_since` is the number of a snapshot; `tag` are tags that people gave; `extra` compares values as text.
    """

    type: Sequence[str] = ()
    filename: Sequence[str] = ()
    run: Sequence[str] = ()
    since: datetime | None = None
    until: datetime | None = None
    topic: Sequence[int] = ()
    new_since: int | None = None
    tag: Sequence[str] = ()
    extra: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return self != Filters()

    def parts(self) -> list[Filters]:
        """Each filter alone."""
        own = [
            Filters(**{one.name: value})
            for one in fields(self)
            if one.name != "extra" and (value := getattr(self, one.name))
        ]
        return own + [Filters(extra={name: values}) for name, values in self.extra.items()]

    def __str__(self) -> str:
        """As `parse_filters` takes them, joined by commas.

        >>> str(Filters(type=("error", "tool_call"), extra={"outcome": ["fail"]}))
        'type=error, type=tool_call, outcome=fail'
        """
        return ", ".join(self.spelled())

    def spelled(self) -> list[str]:
        """NAME=VALUE for each value, as `parse_filters` takes them."""
        lists: dict[str, Sequence[object]] = {
            name: getattr(self, name) for name in ("type", "filename", "run", "topic", "tag")
        }
        single = {name: value for name in ("since", "until", "new_since") if (value := getattr(self, name)) is not None}
        shown = {name: value.isoformat() if isinstance(value, datetime) else value for name, value in single.items()}
        pairs = [(name, value) for name, values in {**lists, **self.extra}.items() for value in values]
        return [f"{name}={value}" for name, value in [*pairs, *shown.items()]]


def parse_filters(given: Iterable[str], now: datetime) -> Filters:
    """The filters that are spelled as NAME=VALUE; a name that is no filter of its own is an extra field.

    `since` and `until` take times of ISO 8601, or `24h`, `7d`, `2w`: so long before `now`, days and weeks from midnight UTC.
    Raises `BadSetting` for what can't be understood.

    >>> parse_filters(["type=error", "outcome=fail", "outcome=timeout"], datetime.now(UTC))  # doctest: +ELLIPSIS
    Filters(type=('error',), ... extra={'outcome': ['fail', 'timeout']})
    """
    lists: dict[str, list[str]] = {}
    for name, value in named_values(given):
        lists.setdefault(name.replace("-", "_") if name == "new-since" else name, []).append(value)
    texts = {name: tuple(lists.pop(name, ())) for name in ("type", "filename", "run", "tag")}
    topic = tuple(_number("topic", value, -1) for value in lists.pop("topic", ()))
    since, until = (_time(name, lists.pop(name, []), now) for name in ("since", "until"))
    new_since = [_number("new_since", value, 1) for value in lists.pop("new_since", ())]
    if len(new_since) > 1:
        raise BadSetting("new_since is given twice: give one snapshot.")
    for name in lists:
        if '"' in name:
            raise BadSetting(f"The name of the extra field {name!r} can't be used: leave out the quotes.")
    return Filters(**texts, since=since, until=until, topic=topic, new_since=next(iter(new_since), None), extra=lists)


def named_values(given: Iterable[str]) -> list[tuple[str, str]]:
    """Name and value of each NAME=VALUE. Raises `BadSetting` for one that is none."""
    found = []
    for one in given:
        name, is_pair, value = one.partition("=")
        if not is_pair or not name.strip() or not value:
            raise BadSetting(f"{one[:200]!r} is no NAME=VALUE: write for instance outcome=fail.")
        found.append((name.strip(), value))
    return found


def _number(name: str, value: str, least: int) -> int:
    if not re.fullmatch(r"-?\d{1,10}", value) or not least <= int(value) <= MAX_INT:
        raise BadSetting(f"{name}={value[:100]}: give a whole number from {least} on.")
    return int(value)


def _time(name: str, values: Sequence[str], now: datetime) -> datetime | None:
    if len(values) > 1:
        raise BadSetting(f"{name} is given twice: {values[0][:100]} and {values[1][:100]}.")
    if not values:
        return None
    if found := AGO.fullmatch(values[0].strip()):
        n, unit = int(found[1]), found[2]
        start = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
        if unit == "h":
            return start - timedelta(hours=n)
        return start.replace(hour=0) - timedelta(days=n * (7 if unit == "w" else 1))
    try:
        time = datetime.fromisoformat(values[0].strip())
    except ValueError:
        raise BadSetting(
            f"{name}={values[0][:100]}: give a time such as 2026-03-01 or 2026-03-01T12:00Z, or 24h, 7d, 2w for so long ago."
        ) from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)
