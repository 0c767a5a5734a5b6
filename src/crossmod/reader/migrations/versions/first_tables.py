"""Surveys, scans, readers, places and answers.

Notable: a migration is never changed once it was released, and so uses nothing of `crossmod.reader.schema`.
"""

import sqlalchemy as sa
from alembic import op

revision = "first_tables"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "survey",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("design", sa.JSON, nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("closed", sa.DateTime(timezone=True)),
        sa.Column("owner_token", sa.String, nullable=False),
        sa.UniqueConstraint("name"),
    )
    op.create_index("ix_survey_owner_token", "survey", ["owner_token"], unique=True)
    op.create_table(
        "scan",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("survey_id", sa.Integer, sa.ForeignKey("survey.id"), nullable=False),
        sa.Column("synthetic", sa.Boolean, nullable=False),
        sa.Column("layer", sa.Integer, nullable=False),
        sa.Column("patient", sa.String, nullable=False),
        sa.Column("store", sa.String, nullable=False),
        sa.Column("case", sa.String, nullable=False),
        sa.Column("slice", sa.Integer),
        sa.Column("repeats", sa.String, sa.ForeignKey("scan.id")),
        sa.Column("sha256", sa.String, nullable=False),
    )
    op.create_index("ix_scan_survey_id", "scan", ["survey_id"])
    op.create_table(
        "reader",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("survey_id", sa.Integer, sa.ForeignKey("survey.id"), nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("token", sa.String, nullable=False),
        sa.Column("language", sa.String, nullable=False),
        sa.Column("invited", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires", sa.DateTime(timezone=True)),
        sa.Column("submitted", sa.DateTime(timezone=True)),
        sa.UniqueConstraint("survey_id", "name"),
    )
    op.create_index("ix_reader_token", "reader", ["token"], unique=True)
    op.create_index("ix_reader_survey_id", "reader", ["survey_id"])
    op.create_table(
        "place",
        sa.Column("reader_id", sa.Integer, sa.ForeignKey("reader.id"), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("scan_id", sa.String, sa.ForeignKey("scan.id"), nullable=False),
        sa.UniqueConstraint("reader_id", "scan_id"),
    )
    op.create_table(
        "answer",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("reader_id", sa.Integer, sa.ForeignKey("reader.id"), nullable=False),
        sa.Column("place", sa.Integer, nullable=False),
        sa.Column("scan_id", sa.String, sa.ForeignKey("scan.id"), nullable=False),
        sa.Column("values", sa.JSON, nullable=False),
        sa.Column("seconds", sa.Float, nullable=False),
        sa.Column("given", sa.DateTime(timezone=True), nullable=False),
        sa.Column("key", sa.String, nullable=False),
        sa.UniqueConstraint("reader_id", "key"),
    )
    op.create_index("ix_answer_reader_id", "answer", ["reader_id"])
