"""Files that add and change records, whatever the records are.

records            what an app says about its records: columns, a row as a record, comparing, writing
columns            which column holds which field
batches            the records of a file in batches, each once
engine             what a worker does: examine the file, then write its records
models, tasks      an uploaded file and its rows, and how long they are kept
admin, preview     its pages
"""
