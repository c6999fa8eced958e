"""Catalogue files, by the admin and by commands.

entries            which column holds what; a row as a book, repaired or refused
importing          books beside those of the catalogue: compared and written (project/imports)
models, admin      an uploaded file and its pages
exporting          books as files
"""
