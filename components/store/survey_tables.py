"""The tables of surveys and of removals."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Column, Index, LargeBinary, Text
from sqlmodel import Field, SQLModel

from components.store.tables import UtcDateTime, big_int


class SurveyRow(SQLModel, table=True):
    """An uploaded table and its terrain. `uploaded`, `terrain` and `weights` (by hill) are JSON.

    `hill_of_row` has the hill of each row of the file, -1 for none: int16, little endian, compressed by zlib.
    """

    __tablename__ = "survey"
    dataset_id: int = Field(foreign_key="dataset.id", primary_key=True)
    file_name: str
    size_bytes: int = Field(sa_column=Column(big_int, nullable=False))
    uploaded: str = Field(sa_column=Column(Text, nullable=False))  # how its file is read
    status: str  # processing, completed, failed
    stage: str = ""
    error: str = Field(default="", sa_column=Column(Text, nullable=False))
    attempts: int = 0
    terrain: str | None = Field(default=None, sa_column=Column(Text))
    hill_of_row: bytes | None = Field(default=None, sa_column=Column(LargeBinary))
    weights: str = Field(default="{}", sa_column=Column(Text, nullable=False))
    created_at: datetime = Field(sa_column=Column(UtcDateTime, nullable=False))
    accessed_at: datetime = Field(sa_column=Column(UtcDateTime, nullable=False))


class UploadAttempt(SQLModel, table=True):
    """An upload that began, by the database's clock in seconds; those of the last minute count."""

    __tablename__ = "upload_attempt"
    __table_args__ = (Index(None, "address", "at"),)
    id: int | None = Field(default=None, sa_column=Column(big_int, primary_key=True, autoincrement=True))
    address: str
    at: float


class SurveyTally(SQLModel, table=True):
    """What all surveys took, also those that were deleted: outcomes, stages with their seconds, failed labels."""

    __tablename__ = "survey_tally"
    kind: str = Field(primary_key=True)  # outcome, stage, label
    name: str = Field(primary_key=True)
    n: int = Field(default=0, sa_column=Column(big_int, nullable=False))
    seconds: float = 0.0


class DroppedVector(SQLModel, table=True):
    """A vector of a dropped dataset: it is deleted as soon as it is certain that no other dataset uses it."""

    __tablename__ = "dropped_vector"
    id: int = Field(sa_column=Column(big_int, primary_key=True, autoincrement=False))


survey_t = SurveyRow.__table__  # type: ignore[attr-defined]
attempt_t = UploadAttempt.__table__  # type: ignore[attr-defined]
survey_tally_t = SurveyTally.__table__  # type: ignore[attr-defined]
dropped_t = DroppedVector.__table__  # type: ignore[attr-defined]
