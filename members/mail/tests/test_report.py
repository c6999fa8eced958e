"""What a task reported is read in the reader's language."""

import pytest
from django.utils import translation

from members.mail import tasks
from members.mail.reasons import in_readers_words

SENTENCES = [
    getattr(tasks, name)
    for name in ("SENT", "LEFT", "SKIPPED", "ABOUT", "AGAIN", "PAUSED", "FINAL")
]
VALUES = {"id": 1, "count": 3, "number": 4, "time": "03:04:05"}


@pytest.mark.parametrize(
    ("report", "english", "russian"),
    [
        ([], "", ""),
        (
            [[tasks.SENT, {"count": 3}]],
            "Welcome e-mails sent: 3.",
            "Отправлено приветственных писем: 3.",
        ),
        (
            [[tasks.ABOUT, {"id": 7}], ["The mail server hung up.", {}], [tasks.FINAL, {}]],
            "Welcome e-mail 7: The mail server hung up. It won’t be retried.",
            "Приветственное письмо 7: Почтовый сервер разорвал соединение. Повторных попыток не будет.",
        ),
        (
            [["The mail server asks us to wait (450 100% full).", {}]],
            "The mail server asks us to wait (450 100% full).",
            "Почтовый сервер просит подождать (450 100% full).",
        ),
        (
            [["A sentence of years ago: %(count)s.", {"count": 2}]],
            "A sentence of years ago: 2.",
            "A sentence of years ago: 2.",
        ),
    ],
)
def test_in_both_languages(report, english, russian):
    assert in_readers_words(report) == english
    with translation.override("ru"):
        assert in_readers_words(report) == russian


@pytest.mark.parametrize("sentence", SENTENCES)
def test_each_sentence_has_words_of_its_own(sentence):
    with translation.override("ru"):
        told = in_readers_words([[sentence, VALUES]])
    assert "e-mail" not in told
    assert told != sentence % VALUES
