"""What a task reported is read in the reader's language."""

from datetime import UTC, datetime

import pytest
from django.utils import translation

from members.mail.reasons import Sentence, in_readers_words, only_skipped
from members.mail.tasks import next_attempt


@pytest.mark.parametrize(
    ("report", "russian"),
    [
        ("Welcome e-mails sent: 3.", "Отправлено приветственных писем: 3."),
        (
            "Welcome e-mail 7: The mail server hung up. Attempt 2 failed.",
            "Приветственное письмо 7: Почтовый сервер разорвал соединение. Попытка 2 не удалась.",
        ),
        (
            "The mail server asks us to wait (450 4.2.1 try later). It won’t be retried.",
            "Почтовый сервер просит подождать (450 4.2.1 try later). Повторных попыток не будет.",
        ),
        ("2 results deleted.", "2 results deleted."),
        ("", ""),
    ],
)
def test_in_russian(report, russian):
    with translation.override("ru"):
        assert in_readers_words(report) == russian
    with translation.override("en"):
        assert in_readers_words(report) == report


@pytest.mark.parametrize("sentence", Sentence)
def test_each_sentence_has_words_of_its_own(sentence):
    values = {"id": 1, "member": 2, "count": 3, "number": 4, "time": "10:00:00"}
    with translation.override("ru"):
        assert "e-mail" not in in_readers_words(sentence % values)
        assert in_readers_words(sentence % values) != sentence % values


def test_times_are_kept():
    with translation.override("ru"):
        told = in_readers_words(next_attempt(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)))
    assert told == "Следующая попытка в 03:04:05 UTC."


def test_who_sent_something_did_not_only_skip():
    skipped = Sentence.SKIPPED % {"count": 1}
    assert only_skipped(skipped)
    assert not only_skipped(f"{Sentence.SENT % {'count': 1}} {skipped}")
