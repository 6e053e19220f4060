"""SQLAlchemy 2 and Alembic with pgvector: tables made, reflected, used and compared; prints what it reads.

usage: sqlalchemy_client.py URL      its output on PostgreSQL is in recorded/
"""

import datetime
import decimal
import sys
import uuid

import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.operations import Operations
from pgvector.sqlalchemy import Vector
from sqlalchemy import orm
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.dialects.postgresql import insert


class Base(orm.DeclarativeBase):
    pass


class Author(Base):
    __tablename__ = "authors6"
    __table_args__ = (sa.CheckConstraint("born > 1800", name="authors6_born"), {"comment": "who writes"})
    id: orm.Mapped[int] = orm.mapped_column(sa.BigInteger, primary_key=True)
    name: orm.Mapped[str] = orm.mapped_column(sa.String(40), comment="family name last")
    born: orm.Mapped[int | None] = orm.mapped_column(sa.SmallInteger)


class Book(Base):
    __tablename__ = "books6"
    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    author: orm.Mapped[int] = orm.mapped_column(sa.BigInteger)
    title: orm.Mapped[str] = orm.mapped_column(sa.Text, server_default=sa.text("'untitled'"))
    price: orm.Mapped[decimal.Decimal | None] = orm.mapped_column(sa.Numeric(8, 2))
    sold: orm.Mapped[float | None] = orm.mapped_column(sa.Double)
    printed: orm.Mapped[datetime.date | None]
    changed: orm.Mapped[datetime.datetime | None] = orm.mapped_column(sa.DateTime(timezone=True), server_default=sa.func.now())
    key: orm.Mapped[uuid.UUID | None]
    facts: orm.Mapped[dict | None] = orm.mapped_column(pg.JSONB)
    tags: orm.Mapped[list[str] | None] = orm.mapped_column(sa.ARRAY(sa.Text))
    cover: orm.Mapped[bytes | None]
    live: orm.Mapped[bool] = orm.mapped_column(default=True)
    embedding: orm.Mapped[list[float] | None] = orm.mapped_column(Vector(3))


NEAREST = sa.Index("books6_nearest", Book.embedding, postgresql_using="hnsw", postgresql_with={"m": 8},
                   postgresql_ops={"embedding": "vector_cosine_ops"})


def shown(value):
    return value.tolist() if hasattr(value, "tolist") else value


def reflection(engine):
    inspector = sa.inspect(engine)
    print("dialect", engine.dialect.name, engine.dialect.server_version_info[0], inspector.default_schema_name)
    print("schemas", [name for name in inspector.get_schema_names() if name != "elanus"])
    print("tables", sorted(name for name in inspector.get_table_names() if name.endswith("6")), inspector.has_table("books6"), inspector.has_table("nosuch"))
    print("views", inspector.get_view_names(), "sequences", sorted(inspector.get_sequence_names()), inspector.get_enums())
    for table in ("authors6", "books6"):
        for column in inspector.get_columns(table):
            print("column", table, {name: str(value) for name, value in sorted(column.items())})
        print("key", inspector.get_pk_constraint(table), inspector.get_foreign_keys(table), inspector.get_unique_constraints(table))
        print("checks", inspector.get_check_constraints(table), inspector.get_table_comment(table))
        print("indexes", inspector.get_indexes(table))
    metadata = sa.MetaData()
    metadata.reflect(engine, only=["authors6", "books6"])
    print("reflected", {name: [(column.name, str(column.type), column.nullable) for column in table.columns] for name, table in sorted(metadata.tables.items())})


def session_work(engine):
    with orm.Session(engine) as session:
        session.add_all([Author(name=f"a{number}", born=1900 + number) for number in range(3)])
        session.flush()
        authors = session.scalars(sa.select(Author).order_by(Author.id)).all()
        print("authors", [(author.id, author.name, author.born) for author in authors])
        session.add_all([
            Book(author=authors[number % 3].id, title=f"t{number}", price=decimal.Decimal(number), sold=number / 2, printed=datetime.date(2026, 1, 1 + number),
                 key=uuid.UUID(int=number), facts={"n": number}, tags=["x", f"y{number}"], cover=bytes([0, number]), embedding=[number, 1, -number])
            for number in range(6)])
        session.commit()
        for metric in ("l2_distance", "max_inner_product", "cosine_distance", "l1_distance"):
            distance = getattr(Book.embedding, metric)([2, 1, -1])
            rows = session.execute(sa.select(Book.id, Book.title, distance.label("d")).where(Book.live, Book.price < 5).order_by(distance, Book.id).limit(3)).all()
            print(metric, [(row.id, row.title, round(row.d, 6)) for row in rows])
        book = session.get(Book, 2)
        print("book", book.title, book.price, book.sold, book.printed, book.key, book.facts, book.tags, book.cover, book.live, shown(book.embedding), book.changed is not None)
        book.tags = ["z"]
        book.facts = {"n": None}
        session.commit()
        print("changed", session.execute(sa.select(Book.tags, Book.facts).where(Book.id == 2)).one())
        joined = sa.select(Author.name, sa.func.count(), sa.func.sum(Book.price)).join(Book, Book.author == Author.id).group_by(Author.name).order_by(Author.name)
        print("joined", session.execute(joined).all())
        newest = sa.select(Book.title).where(Book.author == Author.id).order_by(Book.id.desc()).limit(1).scalar_subquery()
        print("newest", session.execute(sa.select(Author.name, newest).order_by(Author.id)).all())
        print("any", session.scalars(sa.select(Book.id).where(Book.id.in_([1, 2, 9]), sa.func.length(Book.title) > 1).order_by(Book.id)).all())
        upsert = insert(Author).values(id=1, name="new", born=1999)
        session.execute(upsert.on_conflict_do_update(index_elements=["id"], set_={"name": upsert.excluded.name}))
        print("upserted", session.execute(sa.select(Author.name, Author.born).where(Author.id == 1)).one())
        try:
            with session.begin_nested():
                session.execute(sa.insert(Author).values(id=1, name="twice"))
        except sa.exc.IntegrityError as error:
            print("error", error.orig.sqlstate, str(error.orig).splitlines()[0])
        print("deleted", session.execute(sa.delete(Book).where(Book.price > 3)).rowcount)
        session.rollback()
        print("left", session.scalar(sa.select(sa.func.count()).select_from(Book)))
        stream = session.execute(sa.select(Book.id).order_by(Book.id), execution_options={"yield_per": 2})
        print("parts", [[row.id for row in part] for part in stream.partitions()])


def migration(engine):
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "include_name": lambda name, kind, _: kind != "table" or name.endswith("6")})
        print("differences", compare_metadata(context, Base.metadata))
        operations = Operations(context)
        with context.begin_transaction():
            operations.add_column("authors6", sa.Column("note", sa.Text, server_default="none"))
            operations.alter_column("authors6", "name", type_=sa.String(60))
            operations.drop_column("authors6", "born")
        connection.commit()
        for step in compare_metadata(context, Base.metadata):
            print("difference", [str(part) for part in (step[0] if isinstance(step, list) else step)])


def main():
    url = sa.engine.make_url(sys.argv[1]).set(drivername="postgresql+psycopg")
    engine = sa.create_engine(url, connect_args={"options": "-c search_path=public -c client_min_messages=warning"})
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE EXTENSION IF NOT EXISTS vector"))
    Base.metadata.drop_all(engine)
    Base.metadata.create_all(engine)
    reflection(engine)
    session_work(engine)
    migration(engine)
    Base.metadata.drop_all(engine)
    print("dropped", sa.inspect(engine).has_table("books6"))


main()
