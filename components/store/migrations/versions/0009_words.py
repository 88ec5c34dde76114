"""an index of the words of all records"""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.execute(
            "create virtual table record_words using fts5("
            "text, content='record', content_rowid='seq', tokenize='unicode61 remove_diacritics 2')"
        )
        op.execute("insert into record_words(record_words) values ('rebuild')")  # of the records that are there
    else:  # as components/store/words.py spells it
        op.execute(
            "create index record_words on record using gin (to_tsvector('simple', "
            "regexp_replace(lower(left(text, 50000)), '[^[:alnum:]]+', ' ', 'g')))"
        )


def downgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.execute("drop table record_words")
    else:
        op.execute("drop index record_words")
