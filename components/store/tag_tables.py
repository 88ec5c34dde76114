"""The tables of tags that people put on records."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Column, Text
from sqlmodel import Field, SQLModel

from components.store.tables import UtcDateTime


class Tagging(SQLModel, table=True):
    """One act of tagging: the tag, and what the person noted about all records that got it then."""

    __tablename__ = "tagging"
    id: int | None = Field(default=None, primary_key=True)
    dataset_id: int = Field(foreign_key="dataset.id", index=True)
    tag: str
    note: str = Field(default="", sa_column=Column(Text, nullable=False))
    created_at: datetime = Field(sa_column=Column(UtcDateTime, nullable=False))


class Tagged(SQLModel, table=True):
    """A record that has a tag, by its id: ids come from content, so that a record which is read again has it still."""

    __tablename__ = "tagged"
    dataset_id: int = Field(foreign_key="dataset.id", primary_key=True)
    tag: str = Field(primary_key=True)
    record_id: str = Field(primary_key=True, index=True)
    tagging_id: int = Field(foreign_key="tagging.id", index=True)
