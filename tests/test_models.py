"""Row classes: the typed face of the tables, for programs that read a store's database."""

import types
from typing import Union, get_args, get_origin

import pytest
from sqlalchemy import create_engine
from sqlmodel import Field, Session, SQLModel, select

import lineart
import lineart.storage.models
from lineart.artifacts.models import Alias, Collection, Project, Tag, Version
from lineart.lineage.models import Edge, Run, RunTag
from lineart.storage.models import Event, RowModel
from lineart.storage.tables import METADATA

MODELS = {one.__table__.name: one for one in RowModel.__subclasses__()}


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def database(request, tmp_path):
    """The URL of an empty database of each kind."""
    return f"sqlite:///{tmp_path}/store.db" if request.param == "sqlite" else request.getfixturevalue("postgres_url")


def kind_of(annotation):
    """Return the class that a field holds, and whether it may be None."""
    if get_origin(annotation) in {Union, types.UnionType}:
        kinds = set(get_args(annotation))
        return (kinds - {type(None)}).pop(), type(None) in kinds
    return annotation, False


def test_every_table_has_a_row_class_over_it():
    assert {name: one.__table__ for name, one in MODELS.items()} == dict(METADATA.tables)


@pytest.mark.parametrize("name", sorted(METADATA.tables))
def test_the_fields_of_a_row_class_are_the_columns_of_its_table(name):
    model, table = MODELS[name], METADATA.tables[name]
    fields = {one: kind_of(field.annotation) for one, field in model.model_fields.items()}
    given = table.autoincrement_column  # by the database: until it has, a new row has none
    assert fields == {one.name: (one.type.python_type, one.nullable or one is given) for one in table.columns}
    defaults = {one: field.default for one, field in model.model_fields.items() if not field.is_required()}
    assert defaults == {
        one.name: None if one.default is None else one.default.arg
        for one in table.columns
        if one.default is not None or one.nullable or one is given
    }


def test_rows_of_a_store_are_read_with_types(tmp_path, database):
    (tmp_path / "words.txt").write_text("a b c")
    with lineart.create(tmp_path / "store", database=database, project="p") as store:
        draft = lineart.Artifact("words", type="dataset", metadata={"n": 3})
        draft.add_file(tmp_path / "words.txt")
        version = store.log(draft, aliases="best", tags="small").record
        run = store.ledger.start("p", tags=["quick"])
        store.ledger.use(run.id, lineart.Ref("p", "words"), "p")
    with Session(create_engine(database.replace("postgresql:", "postgresql+psycopg:"))) as session:
        chain = select(Version, Collection, Project).where(
            Version.collection == Collection.id, Collection.project == Project.id
        )
        row, collection, project = session.exec(chain).one()
        assert (project.name, collection.name, collection.type, collection.next_number) == ("p", "words", "dataset", 1)
        assert (row.digest, row.number, row.state, row.data) == (version.digest, 0, "live", '{"n":3}')
        aliases = session.exec(select(Alias).where(Alias.version == row.id).order_by(Alias.name)).all()
        assert [one.name for one in aliases] == ["best", "latest"]
        assert session.exec(select(Tag.name)).all() == ["small"]
        assert session.exec(select(Run.id, RunTag.name).join(RunTag, RunTag.run == Run.id)).all() == [(run.id, "quick")]
        assert session.exec(select(Edge)).one().direction == "used"
        kinds = session.exec(select(Event.kind).where(Event.subject == "p/words").order_by(Event.seq)).all()
        assert kinds[:2] == ["collection.created", "version.logged"]


def test_a_program_may_have_tables_and_classes_of_the_same_names():
    class Project(SQLModel, table=True):
        id: int | None = Field(default=None, primary_key=True)
        colour: str

    assert Project.__table__ is not MODELS["project"].__table__
    assert set(SQLModel.metadata.tables).isdisjoint(set(METADATA.tables) - {"project"})
    engine = create_engine("sqlite://")
    SQLModel.metadata.create_all(engine)
    with Session(engine) as session:
        session.add(Project(colour="red"))
        session.commit()
        assert session.exec(select(Project.colour)).one() == "red"
    SQLModel.metadata.clear()
