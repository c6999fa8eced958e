"""The welcome e-mail, from row to SMTP.

models     the row: outbox, state and journal; whether mails go out now
tasks      enqueue, send a batch, sweep
delivery   write a mail and hand it over
reasons    what a mail server's answer means, and what tasks report, in words
admin, actions, filters, task_results, dashboard   the operators' pages
"""
