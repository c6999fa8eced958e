"""FastAPI and SQLAlchemy 2 over the same tables; its lists do not count."""

import os
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any

import redis
from fastapi import Depends, FastAPI, HTTPException
from pydantic import BaseModel, ConfigDict, EmailStr, Field
from sqlalchemy import (
    JSON,
    ForeignKey,
    Integer,
    Select,
    and_,
    create_engine,
    exists,
    or_,
    select,
    type_coerce,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, aliased, mapped_column, sessionmaker

engine = create_engine(
    os.environ["DATABASE_URL"].replace("mysql://", "mysql+mysqldb://"), pool_size=10
)
new_session = sessionmaker(engine, expire_on_commit=False)
queue = redis.Redis.from_url(os.environ["REDIS_URL"])
app = FastAPI()


def now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)


class Base(DeclarativeBase):
    pass


class Book(Base):
    __tablename__ = "library_book"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    author: Mapped[str]
    publication_year: Mapped[int]
    isbn: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(default=now)
    updated_at: Mapped[datetime] = mapped_column(default=now)
    version: Mapped[int] = mapped_column(default=1)


class Word(Base):
    __tablename__ = "library_word"
    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str]


class BookWord(Base):
    __tablename__ = "library_bookword"
    word_id: Mapped[int] = mapped_column(primary_key=True)
    rank: Mapped[int] = mapped_column(primary_key=True)
    book_id: Mapped[int] = mapped_column(primary_key=True)


class Member(Base):
    __tablename__ = "members_member"
    id: Mapped[int] = mapped_column(primary_key=True)
    username: Mapped[str]
    email: Mapped[str]
    registered_at: Mapped[datetime] = mapped_column(default=now)
    updated_at: Mapped[datetime] = mapped_column(default=now)
    version: Mapped[int] = mapped_column(default=1)


class WelcomeEmail(Base):
    __tablename__ = "members_welcomeemail"
    id: Mapped[int] = mapped_column(primary_key=True)
    member_id: Mapped[int] = mapped_column(ForeignKey("members_member.id"))
    state: Mapped[str] = mapped_column(default="queued")
    attempts: Mapped[int] = mapped_column(default=0)
    queued_at: Mapped[datetime] = mapped_column(default=now)
    next_attempt_at: Mapped[datetime] = mapped_column(default=now)
    last_error: Mapped[str] = mapped_column(default="")
    last_error_code: Mapped[str] = mapped_column(default="")
    message_id: Mapped[str] = mapped_column(default=lambda: f"<{uuid.uuid4().hex}@localhost>")
    journal: Mapped[list] = mapped_column(JSON, default=list)


class BookIn(BaseModel):
    title: str = Field(min_length=1, max_length=500)
    author: str = Field(min_length=1, max_length=500)
    publication_year: int = Field(ge=1, le=9999)
    isbn: str = Field(pattern=r"^97[89][0-9]{10}$")


class BookOut(BookIn):
    model_config = ConfigDict(from_attributes=True)
    id: int
    created_at: datetime
    updated_at: datetime


class Page(BaseModel):
    results: list[BookOut]


class Registration(BaseModel):
    username: str = Field(min_length=3, max_length=150, pattern=r"^[A-Za-z0-9_.-]+$")
    email: EmailStr


class Registered(Registration):
    model_config = ConfigDict(from_attributes=True)
    id: int
    registered_at: datetime


def session() -> Iterator[Session]:
    with new_session() as opened:
        yield opened


Database = Annotated[Session, Depends(session)]


def page_of(database: Session, books: Select) -> dict[str, Any]:
    return {"results": database.scalars(books.limit(50)).all()}


@app.get("/books/{pk}", response_model=BookOut)
def detail(pk: int, database: Database) -> Book:
    book = database.get(Book, pk)
    if book is None:
        raise HTTPException(404)
    return book


@app.post("/books", response_model=BookOut, status_code=201)
def add(given: BookIn, database: Database) -> Book:
    book = Book(**given.model_dump())
    database.add(book)
    database.commit()
    return book


@app.post("/register", response_model=Registered, status_code=201)
def register(given: Registration, database: Database) -> Member:
    member = Member(**given.model_dump())
    database.add(member)
    database.flush()
    welcome = WelcomeEmail(member_id=member.id)
    database.add(welcome)
    database.commit()
    queue.lpush("peer", welcome.id)
    return member


@app.get("/books", response_model=Page)
def first_page(database: Database, title: str = "", id: int = 0) -> dict[str, Any]:
    books = select(Book).order_by(Book.title, Book.id)
    if title:
        beyond = or_(Book.title > title, and_(Book.title == title, Book.id > id))
        books = books.where(Book.title >= title, beyond)
    return page_of(database, books)


@app.get("/author", response_model=Page)
def by_author(author: str, database: Database) -> dict[str, Any]:
    return page_of(
        database, select(Book).where(Book.author == author).order_by(Book.title, Book.id)
    )


@app.get("/search", response_model=Page)
def search(words: str, database: Database) -> dict[str, Any]:
    first, *others = database.scalars(select(Word.id).where(Word.text.in_(words.split())))
    books = select(Book).join(BookWord, BookWord.book_id == Book.id)
    books = books.where(BookWord.word_id == first).order_by(BookWord.rank, BookWord.book_id)
    for word in others:
        row = aliased(BookWord)
        same = exists().where(row.book_id == Book.id, row.word_id == word)
        books = books.where(type_coerce(same, Integer) == 1)  # MySQL joins a bare one the wrong way
    return page_of(database, books)


@app.get("/years", response_model=Page)
def by_years(first: int, last: int, order: str, database: Database) -> dict[str, Any]:
    key = {"year": Book.publication_year, "title": Book.title}[order]
    books = select(Book).where(Book.publication_year.between(first, last))
    return page_of(database, books.order_by(key, Book.id))
