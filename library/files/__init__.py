"""Catalogue files, by the admin and by commands.

columns, entries   which column holds what; a row as a book, repaired or refused
importing          the engine: books of entries, compared and written in batches
models, jobs, tasks   an uploaded file, and what a worker does with it
admin, preview     its pages
exporting          books as files
"""
