"""django-ninja over the same tables, with kept connections; its lists do not count."""

import os
import uuid
from datetime import datetime
from typing import Any

import django
import environ
import redis
from django.conf import settings

settings.configure(
    ALLOWED_HOSTS=["*"],
    DATABASES={"default": environ.Env.db_url_config(os.environ["DATABASE_URL"])},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="peer",
    USE_TZ=True,
)
settings.DATABASES["default"]["CONN_MAX_AGE"] = 3600
django.setup()

from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.db import models, transaction  # noqa: E402
from django.db.models.lookups import Exact  # noqa: E402
from django.shortcuts import get_object_or_404  # noqa: E402
from django.urls import path  # noqa: E402
from django.utils import timezone  # noqa: E402
from ninja import NinjaAPI, Schema  # noqa: E402
from pydantic import EmailStr, Field  # noqa: E402

queue = redis.Redis.from_url(os.environ["REDIS_URL"])


class Book(models.Model):
    title = models.CharField(max_length=500)
    author = models.CharField(max_length=500)
    publication_year = models.PositiveSmallIntegerField()
    isbn = models.CharField(max_length=13, null=True)  # noqa: DJ001
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)
    version = models.PositiveIntegerField(default=1)

    class Meta:
        app_label, db_table, managed = "peer", "library_book", False

    def __str__(self) -> str:
        return self.title


class Word(models.Model):
    text = models.CharField(max_length=64)

    class Meta:
        app_label, db_table, managed = "peer", "library_word", False

    def __str__(self) -> str:
        return self.text


class BookWord(models.Model):
    pk = models.CompositePrimaryKey("word_id", "rank", "book_id")
    word = models.ForeignKey(Word, models.PROTECT)
    rank = models.PositiveSmallIntegerField()
    book = models.ForeignKey(Book, models.CASCADE)

    class Meta:
        app_label, db_table, managed = "peer", "library_bookword", False

    def __str__(self) -> str:
        return str(self.pk)


class Member(models.Model):
    username = models.CharField(max_length=150)
    email = models.EmailField()
    registered_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)
    version = models.PositiveIntegerField(default=1)

    class Meta:
        app_label, db_table, managed = "peer", "members_member", False

    def __str__(self) -> str:
        return self.username


class WelcomeEmail(models.Model):
    member = models.OneToOneField(Member, models.CASCADE)
    state = models.CharField(max_length=10, default="queued")
    attempts = models.PositiveSmallIntegerField(default=0)
    queued_at = models.DateTimeField(default=timezone.now)
    next_attempt_at = models.DateTimeField(default=timezone.now)
    last_error = models.CharField(max_length=500, default="")
    last_error_code = models.CharField(max_length=40, default="")
    message_id = models.CharField(max_length=255)
    journal = models.JSONField(default=list)

    class Meta:
        app_label, db_table, managed = "peer", "members_welcomeemail", False

    def __str__(self) -> str:
        return self.message_id


class BookIn(Schema):
    title: str = Field(min_length=1, max_length=500)
    author: str = Field(min_length=1, max_length=500)
    publication_year: int = Field(ge=1, le=9999)
    isbn: str = Field(pattern=r"^97[89][0-9]{10}$")


class BookOut(BookIn):
    id: int
    created_at: datetime
    updated_at: datetime


class Page(Schema):
    results: list[BookOut]


class Registration(Schema):
    username: str = Field(min_length=3, max_length=150, pattern=r"^[A-Za-z0-9_.-]+$")
    email: EmailStr


class Registered(Registration):
    id: int
    registered_at: datetime


api = NinjaAPI()


def page_of(books: Any) -> dict[str, Any]:
    return {"results": list(books[:50])}


@api.get("/books/{pk}", response=BookOut)
def detail(request: Any, pk: int) -> Book:
    return get_object_or_404(Book, pk=pk)


@api.post("/books", response={201: BookOut})
def add(request: Any, given: BookIn) -> tuple[int, Book]:
    return 201, Book.objects.create(**given.dict())


@api.post("/register", response={201: Registered})
def register(request: Any, given: Registration) -> tuple[int, Member]:
    with transaction.atomic():
        member = Member.objects.create(**given.dict())
        message_id = f"<{uuid.uuid4().hex}@localhost>"
        welcome = WelcomeEmail.objects.create(member=member, message_id=message_id)
    queue.lpush("peer", welcome.pk)
    return 201, member


@api.get("/books", response=Page)
def first_page(request: Any, title: str = "", id: int = 0) -> dict[str, Any]:
    books = Book.objects.order_by("title", "id")
    if title:
        beyond = models.Q(title__gt=title) | models.Q(title=title, id__gt=id)
        books = books.filter(beyond, title__gte=title)
    return page_of(books)


@api.get("/author", response=Page)
def by_author(request: Any, author: str) -> dict[str, Any]:
    return page_of(Book.objects.filter(author=author).order_by("title", "id"))


@api.get("/search", response=Page)
def search(request: Any, words: str) -> dict[str, Any]:
    first, *others = Word.objects.filter(text__in=words.split()).values_list("pk", flat=True)
    rows = BookWord.objects.filter(word=first).order_by("rank", "book_id")
    for word in others:
        same = BookWord.objects.filter(word=word, book=models.OuterRef("book"))
        rows = rows.filter(Exact(models.Exists(same), models.Value(True)))
    return {"results": [row.book for row in rows.select_related("book")[:50]]}


@api.get("/years", response=Page)
def by_years(request: Any, first: int, last: int, order: str) -> dict[str, Any]:
    key = {"year": "publication_year", "title": "title"}[order]
    books = Book.objects.filter(publication_year__range=(first, last))
    return page_of(books.order_by(key, "id"))


urlpatterns = [path("", api.urls)]
application = get_wsgi_application()
