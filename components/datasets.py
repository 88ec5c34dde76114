"""Which datasets there are: those that were loaded into, those that the settings name, and the default one.

Only a load of given sources creates another; everywhere else a name that is none of these is mistyped.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from components.credentials import Credentials
from components.errors import NotFound
from components.locations import without_password
from components.settings import DEFAULT_DATASET, Settings
from components.store import Store

most_names = 20  # in a message


def find_dataset(settings: Settings, store: Store, name: str) -> int | None:
    """The store's number of a dataset; None for one that nothing was loaded into yet.

    Raises `NotFound` with the nearest name for an unknown dataset, `BadSetting` for a name that none can have.
    """
    settings.dataset(name)
    known = store.datasets.ids()
    if name in known:
        return known[name]
    if (uploaded := store.datasets.id(name)) is not None:
        return uploaded
    if name in settings.datasets or name == DEFAULT_DATASET:
        return None
    raise NotFound(unknown_dataset(name, {*known, *settings.datasets}))


def sources_of(
    configured: Sequence[str], store: Store, number: int | None, credentials: Credentials | None = None
) -> tuple[str, ...]:
    """What a load of a dataset reads: its `configured` sources, then those remembered from earlier loads, each once.

    `number` is the store's number of the dataset, None before its first load. URLs come without their passwords, or
    with those that `credentials` hold.
    """
    remembered = () if number is None else store.datasets.sources(number)
    spelled = credentials.completed if credentials else without_password
    return tuple(dict.fromkeys(map(spelled, (*configured, *remembered))))


def unknown_dataset(name: str, known: Iterable[str]) -> str:
    """The message about a name that no dataset has, with the nearest one.

    >>> unknown_dataset("runz", ["runs", "traces"])
    "There is no dataset 'runz'; there are: runs, traces. Did you mean 'runs'? `runatlas load SOURCE -d runz` creates it."
    """
    names = sorted(known) or [DEFAULT_DATASET]
    listed = ", ".join(names[:most_names]) + (", …" if len(names) > most_names else "")
    near = get_close_matches(name, names, 1)
    meant = f" Did you mean {near[0]!r}?" if near else ""
    return f"There is no dataset {name!r}; there are: {listed}.{meant} `runatlas load SOURCE -d {name}` creates it."
