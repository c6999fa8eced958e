"""The welcome e-mail, from row to SMTP.

models     the row: outbox, state and journal; claim and record
dispatch   whether mails go out now, and when each part was last seen
tasks      enqueue, send, sweep
batch      claimed mails on their way
delivery   write a mail and hand it over
reasons    what a mail server's answer means, in words
admin, actions, filters, timeline, task_results, dashboard   the operators' pages
"""
