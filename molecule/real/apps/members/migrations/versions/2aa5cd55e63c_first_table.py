"""The first table."""

import sqlalchemy as sa
from alembic import op

revision = "2aa5cd55e63c"
down_revision = None


def upgrade() -> None:
    """Create the table of members."""
    op.create_table(
        "member",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("password", sa.String(), nullable=False),
        sa.Column("motto", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
    )


def downgrade() -> None:
    """Drop it."""
    op.drop_table("member")
