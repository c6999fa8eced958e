"""Staff accounts: who is added, by whom, and how a person gets a password."""

import re

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, Permission, User
from django.contrib.sessions.models import Session
from django.core import mail
from django.urls import reverse

from project.admin.passwords import mail_password_links

pytestmark = pytest.mark.django_db

ADD = reverse("admin:auth_user_add")
LIST = reverse("admin:auth_user_changelist")
FORGOT = reverse("admin:password_reset")
GOOD = "seven-lamps-7"
FILES = "django.core.mail.backends.filebased.EmailBackend"
ANN = {"first_name": "Ann", "last_name": "Reader", "email": "ann@example.org", "username": ""}


@pytest.fixture
def no_mail(settings):
    settings.EMAIL_BACKEND = FILES


def account(name="ann", **fields) -> User:
    return User.objects.create_user(name, email=f"{name}@example.org", is_staff=True, **fields)


def page_of(user: User, page: str = "change") -> str:
    return reverse(f"admin:auth_user_{page}", args=[user.pk])


def link_in(text: str) -> str:
    return re.search(r"http://testserver(/admin/reset/[^\s\"<]+)", text)[1]


def add(desk, **fields):
    return desk.post(ADD, ANN | fields, follow=True)


def choose(client, link: str, password: str = GOOD):
    form = client.get(link, follow=True)
    page = form.request["PATH_INFO"]
    return client.post(page, {"new_password1": password, "new_password2": password}, follow=True)


# --- Names ---


@pytest.mark.parametrize("page", ["changelist", "change", "history", "delete", "link"])
def test_a_person_is_called_by_name(desk, page):
    ann = account(first_name="Ann", last_name="Reader")
    address = LIST if page == "changelist" else page_of(ann, page)
    html = desk.get(address).content.decode()
    assert "Ann Reader" in html
    assert "Staff" in html and "Users" not in html
    assert "Select ann" not in html, "the box before a row is read out"
    if page in ("history", "delete", "link"):
        assert ">Ann Reader</a>" in html, "the breadcrumb leads back"


def test_who_has_no_name_is_called_by_username(desk):
    assert desk.get(page_of(account())).context["title"] == "ann"


def test_messages_call_a_person_by_name(desk):
    ann = account(first_name="Ann", last_name="Reader")
    said = desk.post(page_of(ann, "delete"), {"post": "yes"}, follow=True)
    assert [str(text) for text in said.context["messages"]] == [
        "The account of Ann Reader was deleted."
    ]


def test_the_account_of_a_token_is_called_by_name(desk):
    ann = account(first_name="Ann", last_name="Reader")
    page = desk.get(reverse("admin:project_authtoken_add")).content.decode()
    assert f'<option value="{ann.pk}">Ann Reader</option>' in page


def test_models_of_others_keep_their_words():
    """Only our pages have other names for them."""
    assert str(User(username="ann", first_name="Ann")) == "ann"
    assert str(User._meta.verbose_name_plural) == "users"
    assert str(Group(name="Operators")) == "Operators"


# --- Adding ---


def test_a_person_added_to_a_group_sets_a_password_and_gets_to_work(desk, client, no_mail):
    group = Group.objects.get(name="Cataloguers")
    page = add(desk, groups=[group.pk]).content.decode()
    desk.logout()
    choose(client, link_in(page))
    assert client.login(username="ann", password=GOOD)
    assert client.get(reverse("admin:library_book_changelist")).status_code == 200
    assert client.get(LIST).status_code == 403


def test_a_link_is_mailed_where_mail_is_set_up(desk):
    page = add(desk).content.decode()
    (sent,) = mail.outbox
    assert sent.to == ["ann@example.org"]
    assert "We sent a link to ann@example.org." in page
    link = link_in(sent.body)
    assert link not in page, "whoever adds a person cannot sign in as that person"


def test_a_mail_server_that_refuses_leaves_the_link_on_the_page(desk, monkeypatch):
    def refuse(*args):
        raise OSError

    monkeypatch.setattr("django.core.mail.backends.locmem.EmailBackend.send_messages", refuse)
    assert link_in(add(desk).content.decode())


def test_a_link_is_shown_once_and_kept_nowhere(desk, no_mail, caplog):
    page = add(desk)
    token = link_in(page.content.decode()).rstrip("/").rsplit("/", 1)[1]
    ann = User.objects.get(username="ann")
    assert "no-store" in page.headers["Cache-Control"]
    for address in (page_of(ann), page_of(ann, "history"), page_of(ann, "link"), LIST):
        assert token not in desk.get(address).content.decode()
    kept = [entry.change_message for entry in LogEntry.objects.all()]
    kept += [str(session.get_decoded()) for session in Session.objects.all()]
    assert token not in " ".join([*kept, caplog.text, *map(str, desk.cookies.values())])


def test_that_a_link_was_created_is_told_in_the_readers_language(desk, no_mail):
    desk.cookies["django_language"] = "ru"
    add(desk)
    history = page_of(User.objects.get(username="ann"), "history")
    assert "Создана ссылка" in desk.get(history).content.decode()
    desk.cookies["django_language"] = "en"
    assert "Created a password link." in desk.get(history).content.decode()


def test_reloading_the_page_adds_nobody_twice_and_shows_no_link(desk, no_mail):
    page = add(desk)
    [(address, status)] = page.redirect_chain
    assert status == 302
    again = desk.get(address)
    assert link_in(page.content.decode()) not in again.content.decode()
    assert User.objects.filter(first_name="Ann").count() == 1


def test_a_link_works_once(client, desk, no_mail):
    link = link_in(add(desk).content.decode())
    desk.logout()
    choose(client, link)
    answer = choose(client, link, "another-lamp-8")
    assert "no longer works" in answer.content.decode()
    assert User.objects.get(username="ann").check_password(GOOD)


@pytest.mark.parametrize(("password", "taken"), [("8203957164", False), (GOOD, True)])
def test_the_page_behind_the_link_holds_the_rules_of_passwords(
    client, desk, no_mail, password, taken
):
    link = link_in(add(desk).content.decode())
    choose(client, link, password)
    assert User.objects.get(username="ann").check_password(password) is taken


def test_a_username_is_proposed_that_is_free(desk, no_mail):
    account("ann")
    desk.post(ADD, ANN | {"email": "ann@example.com"})
    assert User.objects.get(email="ann@example.com").username == "ann2"


@pytest.mark.parametrize("missing", ["first_name", "last_name", "email"])
def test_name_and_address_are_asked_for(desk, missing):
    assert desk.post(ADD, ANN | {missing: ""}).status_code == 200
    assert not User.objects.filter(username="ann").exists()


def test_nobody_has_a_password_before_the_person_chose_one(desk, no_mail):
    add(desk)
    ann = User.objects.get(username="ann")
    assert not ann.has_usable_password()
    assert ann.is_staff
    assert not ann.is_superuser


# --- Who may do what ---


@pytest.fixture
def manager(client):
    """May manage accounts, and is no administrator."""
    user = account("manager")
    names = [f"{verb}_user" for verb in ("view", "add", "change", "delete")]
    user.user_permissions.set(Permission.objects.filter(codename__in=names))
    client.force_login(user)
    return client


def test_only_an_administrator_makes_administrators(manager):
    ann = account()
    form = {"username": "ann", "is_active": "on", "is_staff": "on", "is_superuser": "on"}
    manager.post(page_of(ann), form)
    ann.refresh_from_db()
    assert not ann.is_superuser
    page = manager.get(page_of(ann)).content.decode()
    assert "is_superuser" not in page
    assert "user_permissions" not in page


@pytest.mark.parametrize("page", ["change", "delete", "link"])
def test_an_administrator_is_touched_by_administrators_alone(manager, staff, page):
    staff.username = "chief"
    staff.save()
    assert (
        manager.post(page_of(staff, page), {"username": "mine", "post": "yes"}).status_code == 403
    )
    staff.refresh_from_db()
    assert staff.username == "chief"
    assert mail.outbox == []


def test_the_selection_deletes_no_administrator(manager, staff):
    form = {"action": "delete_selected", "_selected_action": [staff.pk], "post": "yes"}
    assert manager.post(LIST, form).status_code == 403
    assert User.objects.filter(pk=staff.pk).exists()


def test_who_may_not_change_accounts_makes_no_link(client):
    reader = account("reader")
    reader.user_permissions.set(Permission.objects.filter(codename="view_user"))
    client.force_login(reader)
    assert client.post(page_of(account(), "link")).status_code == 403


@pytest.mark.parametrize("right", ["is_active", "is_staff", "is_superuser"])
def test_nobody_locks_himself_out(desk, staff, right):
    form = {"username": "staff", "is_active": "on", "is_staff": "on", "is_superuser": "on"}
    del form[right]
    answer = desk.post(page_of(staff), form)
    assert answer.status_code == 200
    assert right in answer.context["adminform"].form.errors
    staff.refresh_from_db()
    assert getattr(staff, right)


def test_nobody_deletes_himself(desk, staff):
    assert desk.post(page_of(staff, "delete"), {"post": "yes"}).status_code == 403


def test_deactivating_keeps_oneself_and_ends_the_others_sessions(desk, staff, client):
    ann = account()
    chosen = [staff.pk, ann.pk]
    answer = desk.post(LIST, {"action": "deactivate", "_selected_action": chosen}, follow=True)
    text = answer.content.decode()
    assert "can’t deactivate your own account" in text
    assert "1 account deactivated." in text
    ann.refresh_from_db()
    staff.refresh_from_db()
    assert (staff.is_active, ann.is_active) == (True, False)
    client.force_login(ann)
    assert client.get(reverse("admin:index")).status_code == 302


def test_an_account_may_be_corrected_without_its_password_on_the_page(desk):
    ann = account(password=GOOD)
    page = desk.get(page_of(ann)).content.decode()
    assert ann.password not in page
    assert "md5" not in page
    form = {"username": "ann", "first_name": "Anna", "is_active": "on", "is_staff": "on"}
    assert desk.post(page_of(ann), form).status_code == 302
    ann.refresh_from_db()
    assert ann.first_name == "Anna"
    assert ann.check_password(GOOD)


# --- Forgotten passwords ---


@pytest.fixture
def worker(monkeypatch):
    """Messages to the worker are run at once."""
    monkeypatch.setattr(mail_password_links, "delay", mail_password_links)


def test_a_forgotten_password_is_set_by_a_mailed_link(client, worker):
    ann = account(password="old-lamps-7")
    client.post(FORGOT, {"email": "Ann@Example.org"})
    (sent,) = mail.outbox
    choose(client, link_in(sent.body))
    ann.refresh_from_db()
    assert ann.check_password(GOOD)


def test_it_is_not_told_whether_an_account_exists(client, worker):
    account()
    account("bob", is_active=False)
    answers = [
        client.post(FORGOT, {"email": f"{name}@example.org"}, follow=True)
        for name in ("ann", "bob", "nobody")
    ]
    assert len({answer.content for answer in answers}) == 1
    assert [sent.to for sent in mail.outbox] == [["ann@example.org"]]


def test_the_queue_gets_no_address_and_the_same_message_for_all(client, monkeypatch):
    told = []
    monkeypatch.setattr(mail_password_links, "delay", lambda *args: told.append(args))
    ann = account()
    for name in ("ann", "nobody"):
        client.post(FORGOT, {"email": f"{name}@example.org"})
    assert told == [(ids, "http://testserver/", "en") for ids in ([ann.pk], [])]


def test_asking_for_links_counts_as_guessing_passwords(client, limit, worker):
    limit(login="1/m")
    account()
    assert client.post(FORGOT, {"email": "ann@example.org"}).status_code == 302
    answer = client.post(FORGOT, {"email": "ann@example.org"})
    assert answer.status_code == 429
    assert answer.headers["Retry-After"] == "40"
    assert len(mail.outbox) == 1


@pytest.mark.parametrize("backend", [FILES, "django.core.mail.backends.smtp.EmailBackend"])
def test_it_is_offered_where_mail_is_set_up(client, settings, backend):
    settings.EMAIL_BACKEND = backend
    offered = backend != FILES
    assert (FORGOT in client.get(reverse("admin:login")).content.decode()) is offered
    assert client.get(FORGOT).status_code == (200 if offered else 404)


def test_a_broker_that_is_down_shows_no_error(client, monkeypatch):
    def fail(*args):
        raise ConnectionError

    monkeypatch.setattr(mail_password_links, "delay", fail)
    assert client.post(FORGOT, {"email": "ann@example.org"}).status_code == 302


# --- Groups ---


def test_a_group_is_saved_with_what_was_chosen_and_keeps_what_is_not_shown(desk):
    group = Group.objects.create(name="Archive")
    hidden = Permission.objects.get(codename="delete_session")
    view, add = (Permission.objects.get(codename=f"{verb}_book") for verb in ("view", "add"))
    group.permissions.set([hidden, view])
    page = reverse("admin:auth_group_change", args=[group.pk])
    desk.post(page, {"name": "Archive", "permissions": [add.pk]})
    assert set(group.permissions.all()) == {hidden, add}


def test_the_matrix_offers_each_permission_that_a_page_asks_for(desk):
    page = desk.get(reverse("admin:auth_group_add")).content.decode()
    offered = {int(pk) for pk in re.findall(r'name="permissions" value="(\d+)"', page)}
    shipped = Permission.objects.filter(group__isnull=False)
    assert {permission.pk for permission in shipped} <= offered
    assert Permission.objects.get(codename="delete_session").pk not in offered
    assert Permission.objects.get(codename="change_taskresult").pk not in offered


def test_the_matrix_names_no_area_without_permissions_of_its_own(desk):
    page = desk.get(reverse("admin:auth_group_add"))
    assert not re.search(r"</legend><div>\s*</div>", page.content.decode())


def test_permissions_that_do_not_exist_are_an_error_of_the_form(desk):
    page = desk.post(reverse("admin:auth_group_add"), {"name": "Archive", "permissions": ["x"]})
    assert page.context["adminform"].form.errors.keys() == {"permissions"}
    assert not Group.objects.filter(name="Archive").exists()


def test_groups_say_in_plain_words_what_their_members_may_do(desk):
    page = desk.get(ADD).content.decode()
    assert "Books: view, add, change, delete" in page
    assert "pause and resume all sending" in page


def test_shipped_groups_have_names_in_the_readers_language(desk):
    desk.cookies["django_language"] = "ru"
    page = desk.get(reverse("admin:auth_group_changelist")).content.decode()
    assert "Каталогизаторы" in page
    assert "Книги: просмотр, добавление, изменение, удаление" in page


@pytest.mark.parametrize("more", [0, 9])
def test_the_list_of_groups_costs_the_same_for_many(desk, more, django_assert_max_num_queries):
    for number in range(more):
        Group.objects.create(name=f"Readers {number}")
    with django_assert_max_num_queries(6):  # session, account, count, rows, permissions, areas
        desk.get(reverse("admin:auth_group_changelist"))
