"""The database itself refuses to change or remove an answer."""

from alembic import op

revision = "answers_are_kept"
down_revision = "first_tables"
branch_labels = None
depends_on = None

WORDS = "answers are never changed"


def upgrade() -> None:
    """Make the triggers."""
    if op.get_bind().dialect.name == "sqlite":
        for step in ("UPDATE", "DELETE"):
            name = f"answer_no_{step.lower()}"
            op.execute(f"CREATE TRIGGER {name} BEFORE {step} ON answer BEGIN SELECT RAISE(ABORT, '{WORDS}'); END")
        return
    op.execute(
        "CREATE FUNCTION answer_kept() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{WORDS}' USING ERRCODE = 'integrity_constraint_violation'; END $$"
    )
    op.execute(
        "CREATE TRIGGER answer_kept BEFORE UPDATE OR DELETE ON answer FOR EACH ROW EXECUTE FUNCTION answer_kept()"
    )
