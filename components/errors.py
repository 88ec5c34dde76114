"""The tree of errors, and which of them are worth another try.

RunAtlasError
├── TransientError              another try may help
│   ├── ServiceUnavailable      an embedding service or model is down, slow or rate limited
│   │   ├── ModelTimeout        a model did not answer in time
│   │   └── ModelUnloadable     its graph can't be loaded
│   ├── TooManyRequests         more is being received than the settings let this process hold
│   ├── StoreBusy               the database is locked or was restarted
│   └── LeaseHeld               another index of this dataset is running
└── TerminalError               it can't
    ├── BadSetting              a setting, argument or parameter is wrong
    │   └── ModelDamaged        the weights of a model are not what they should be
    ├── BadUpload               an uploaded file is no table, or too small
    ├── BadQuery                a search or an edit that can't be done as it is
    │   └── NoModel             the dataset's vectors were given, nothing embeds a text
    ├── BadBody                 what was sent to a receiver can't be read
    │   └── BodyTooLarge        it is larger than the settings allow
    ├── SourceError             one source can't be read; the others go on
    │   ├── NotReady            it is still being written
    │   ├── UnknownFormat       no format recognises it
    │   └── Unreadable          it can't be opened or is damaged
    │       ├── ReadFailed      the system refused this time; a later load tries again
    │       └── TooLarge        it is one document beyond the limit
    ├── UnusableTrace           a trace without a field that its text needs
    ├── EmbeddingFailed         a model or service gave something that is no vector
    ├── DimensionMismatch       vectors of another dimension than the map's
    ├── ModelChanged            another model than the map's, and no recompute asked for
    ├── LeaseLost               another index took over; nothing of ours was written
    ├── OutputElsewhere         another home keeps the output of this dataset
    ├── SchemaTooNew            the database was written by a newer runatlas
    ├── DiskFailed              a disk is full, read-only or broken
    ├── NotFound                no such dataset, record, snapshot or run
    └── Cancelled               the run was asked to stop
"""

from __future__ import annotations


class RunAtlasError(Exception):
    """Base of all errors that runatlas raises on purpose; the text is meant for a person."""


class TransientError(RunAtlasError):
    """Another try may help. `retry_after_s` is what a service asked for, if it did."""

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class ServiceUnavailable(TransientError):
    """An embedding service or model is down, slow or rate limited."""


class ModelTimeout(ServiceUnavailable):
    """A model did not answer in time."""


class ModelUnloadable(ServiceUnavailable):
    """The graph of a model can't be loaded: it is damaged, or memory is short."""


class StoreBusy(TransientError):
    """The database is locked or was restarted."""


class TooManyRequests(TransientError):
    """More is being received than the settings let this process hold at a time."""


class LeaseHeld(TransientError):
    """Somebody else indexes this dataset now."""


class TerminalError(RunAtlasError):
    """Another try can't help."""


class BadSetting(TerminalError):
    """A setting, argument or parameter is wrong."""


class ModelDamaged(BadSetting):
    """The weights of a model are not what they should be."""


class BadQuery(TerminalError):
    """A search that is empty, too long, of another dimension or contradicts itself; the message says which."""


class NoModel(BadQuery):
    """A text is to be embedded in a dataset whose vectors were given with its documents."""


class BadBody(TerminalError):
    """What was sent to a receiver can't be read; sending it again can't help."""


class BodyTooLarge(BadBody):
    """What was sent to a receiver is larger than the settings allow."""


class BadUpload(TerminalError):
    """An uploaded file is no table, too small, or (`is_about_column`) lacks the text column that was named."""

    def __init__(self, message: str, *, is_about_column: bool = False) -> None:
        super().__init__(message)
        self.is_about_column = is_about_column


class SourceError(TerminalError):
    """One source can't be read; the others go on."""


class NotReady(SourceError):
    """The source is still being written."""


class UnknownFormat(SourceError):
    """No format recognises the source."""


class Unreadable(SourceError):
    """The source can't be opened or is damaged."""


class ReadFailed(Unreadable):
    """The system refused to open or read the source this time (I/O error, permissions, too many open files)."""


class TooLarge(Unreadable):
    """The source is one document that is larger than `load.max_item_bytes`."""


class UnusableTrace(TerminalError):
    """A trace without a field that its text needs, or with one of another type."""


class EmbeddingFailed(TerminalError):
    """A model or service gave something that is no vector for these texts."""


class DimensionMismatch(TerminalError):
    """Vectors of another dimension than the map's."""


class ModelChanged(TerminalError):
    """Another model than the map's, and no recompute asked for."""


class LeaseLost(TerminalError):
    """Another index took over this dataset; nothing of ours was written since."""


class OutputElsewhere(TerminalError):
    """Another home on the same database keeps the output of this dataset."""


class SchemaTooNew(TerminalError):
    """The database was written by a newer runatlas."""


class DiskFailed(TerminalError):
    """A disk is full, read-only or broken; what was committed stays, and the next run resumes there."""


class NotFound(TerminalError):
    """No such dataset, record, snapshot or run."""


class Cancelled(TerminalError):
    """The run was asked to stop, and did so between two batches."""


def is_transient(error: BaseException) -> bool:
    """Is another try worth it?"""
    return isinstance(error, TransientError)
